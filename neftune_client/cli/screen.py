"""The run as one watches it: a bar and the losses on a terminal, a line now and then elsewhere.

Knows rich and what a curve tells. Asks nothing of the service.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from neftune_client.curve import LOSSES, Curve
from neftune_client.stream import Message

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 56  # columns of the curve
_LINES = 12  # lines of progress where there is no terminal
# What is worth a line of its own: the run is not where it was, or the noise is what was asked.
_NOTABLE = {
    "model.fetching": "the model is being fetched",
    "model.fetched": "the model is here",
    "run.lost": "the run was lost; the job goes back to the queue",
    "run.drained": "the worker leaves; the job goes back to the queue",
    "rewound": "going on from the last checkpoint, step {step}",
    "run.stopped_early": "stopped early at step {step}",
}


def sparks(losses: list[float], width: int = _WIDTH) -> str:
    """Draw losses as one line of small bars, each the mean of its share of the steps."""
    if not losses:
        return ""
    columns = min(width, len(losses))
    cuts = [len(losses) * column // columns for column in range(columns + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1))] for mean in means)


def watch(messages: Iterable[Message], console: Console) -> Curve:
    """Show a run until its last message."""
    return _on_terminal(messages, console) if console.is_terminal else _in_lines(messages, console)


def _on_terminal(messages: Iterable[Message], console: Console) -> Curve:
    curve = Curve()
    with Live(_drawn(curve), console=console, refresh_per_second=8) as live:
        for message in messages:
            curve.hear(message)
            if line := _notable(message):
                console.print(line, markup=False, highlight=False)
            live.update(_drawn(curve))
    return curve


def _drawn(curve: Curve) -> Group:
    bar = Table.grid(padding=(0, 2))
    running = curve.total and curve.status == "running"
    bar.add_row(
        "  training" if running else f"  {curve.status}",
        ProgressBar(total=curve.total or None, completed=curve.step, width=40, pulse=not curve.total),
        f"step {curve.step}/{curve.total or '?'}",
    )
    lines: list[RenderableType] = [
        bar,
        Text(f"  {sparks(curve.losses)}", style="cyan"),
        Text(f"  {curve.told()}"),
    ]
    if beside := curve.beside():
        lines.append(Text(f"  {beside}", style="dim"))
    return Group(*lines)


def _in_lines(messages: Iterable[Message], console: Console) -> Curve:
    curve, shown = Curve(), -1
    for message in messages:
        curve.hear(message)
        every = max(1, curve.total // _LINES)
        if message.kind == "status":
            console.print(f"  status {curve.status}", highlight=False)
        elif line := _notable(message):
            console.print(line, markup=False, highlight=False)
        elif message.kind == "metric" and (curve.step // every > shown or curve.step == curve.total):
            shown = curve.step // every
            line = f"  step {curve.step:>4}/{curve.total}  {curve.told()}"
            console.print(line, highlight=False, soft_wrap=True)
    return curve


def _notable(message: Message) -> str:
    if message.kind != "event" or message.data["name"] not in _NOTABLE:
        return ""
    return "  " + _NOTABLE[message.data["name"]].format_map({"step": message.data["data"].get("step", "?")})


def watch_several(
    messages: Iterable[Message], names: Mapping[str, str], console: Console
) -> dict[str, Curve]:
    """Show several runs side by side until all have ended; ``names`` says what to call each."""
    curves = {job: Curve() for job in names}
    if not console.is_terminal:
        for message in messages:
            curves[job := message.data["job"]].hear(message)
            if message.kind == "status":
                console.print(
                    f"  {names[job]}  {curves[job].status}  {curves[job].told()}".rstrip(), highlight=False
                )
        return curves
    with Live(_rows(curves, names), console=console, refresh_per_second=4) as live:
        for message in messages:
            curves[message.data["job"]].hear(message)
            live.update(_rows(curves, names))
    return curves


def _rows(curves: Mapping[str, Curve], names: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "status", "step", "with noise", "clean", "held-out", ""):
        table.add_column(column)
    for job, curve in curves.items():
        losses = (f"{curve.latest[name]:.4f}" if name in curve.latest else "" for name in LOSSES)
        step = f"{curve.step}/{curve.total or '?'}"
        table.add_row(names[job], curve.status, step, *losses, Text(sparks(curve.losses, 24), style="cyan"))
    return table
