"""The run as one watches it: a bar and the losses on a terminal, a line now and then elsewhere.

Knows rich and the messages of the stream. Asks nothing of the service.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from standalone.demo.stream import Message

_BARS = "▁▂▃▄▅▆▇█"
_LOSSES = {"train_loss": "loss (with noise)", "clean_train_loss": "clean loss", "eval_loss": "held-out loss"}
_WIDTH = 56  # columns of the curve
_LINES = 12  # lines of progress where there is no terminal


class Curve:
    """What the messages have told so far."""

    def __init__(self) -> None:
        self.step = 0
        self.total = 0
        self.status = "queued"
        self.latest: dict[str, float] = {}
        self.losses: list[float] = []
        self.base_eval_loss: float | None = None
        self.verified: dict[str, Any] = {}

    def hear(self, message: Message) -> None:
        """Take in one message."""
        if message.kind == "metric":
            self._measure(int(message.data["step"]), message.data["values"])
        elif message.kind == "status":
            self.status = message.data["status"]
        elif message.data["name"] == "run.planned":
            self.total = int(message.data["data"]["total_steps"])
        elif message.data["name"] == "neftune.verified":
            self.verified = message.data["data"]
        elif message.data["name"] == "run.started":  # a second attempt begins anew
            self.losses, self.step = [], 0

    def _measure(self, step: int, values: dict[str, float | None]) -> None:
        self.step = max(self.step, step)
        self.latest |= {name: value for name in _LOSSES if (value := values.get(name)) is not None}
        if step == 0 and (base := values.get("eval_loss")) is not None:
            self.base_eval_loss = base
        if (loss := values.get("train_loss")) is not None:
            self.losses.append(loss)

    def told(self) -> str:
        """Say the latest losses in a line."""
        return "  ".join(
            f"{_LOSSES[name]} {self.latest[name]:.4f}" for name in _LOSSES if name in self.latest
        )


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
            live.update(_drawn(curve))
    return curve


def _drawn(curve: Curve) -> Group:
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        "  training" if curve.total else f"  {curve.status}",
        ProgressBar(total=curve.total or None, completed=curve.step, width=40, pulse=not curve.total),
        f"step {curve.step}/{curve.total or '?'}",
    )
    return Group(bar, Text(f"  {sparks(curve.losses)}", style="cyan"), Text(f"  {curve.told()}"))


def _in_lines(messages: Iterable[Message], console: Console) -> Curve:
    curve, shown = Curve(), -1
    for message in messages:
        curve.hear(message)
        every = max(1, curve.total // _LINES)
        if message.kind == "status":
            console.print(f"  status {curve.status}", highlight=False)
        elif message.kind == "metric" and (curve.step // every > shown or curve.step == curve.total):
            shown = curve.step // every
            line = f"  step {curve.step:>4}/{curve.total}  {curve.told()}"
            console.print(line, highlight=False, soft_wrap=True)
    return curve
