"""What a run looks like while one watches it."""

import io

from rich.console import Console

from neftune_client.cli.screen import sparks, watch
from neftune_client.curve import Curve, duration
from neftune_client.stream import Message

RUN = [
    Message("1", "status", {"status": "running", "attempt": 1}),
    Message("2", "event", {"name": "run.planned", "data": {"total_steps": 24}}),
    Message("3", "metric", {"step": 0, "values": {"eval_loss": 4.0}}),
    Message("4", "event", {"name": "neftune.verified", "data": {"alpha": 5.0, "effective_alpha": 5.01}}),
    *[
        Message(str(10 + step), "metric", {"step": step, "values": {"train_loss": 4.0 - step / 10}})
        for step in range(1, 25)
    ],
    Message("98", "metric", {"step": 24, "values": {"eval_loss": 1.5, "clean_train_loss": None}}),
    Message("99", "status", {"status": "succeeded"}),
]


def _watched(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    return watch(RUN, console), console.file.getvalue()


def test_without_a_terminal_a_line_comes_now_and_then():
    _, text = _watched(terminal=False)
    steps = [line for line in text.splitlines() if line.startswith("  step")]
    assert 10 <= len(steps) <= 16
    assert "\x1b" not in text
    assert "held-out loss 1.5000" in steps[-1]
    assert text.rstrip().endswith("status succeeded")


def test_on_a_terminal_a_bar_and_a_curve_are_drawn():
    _, text = _watched(terminal=True)
    assert "step 24/24" in text
    assert "█" in text
    assert "held-out loss 1.5000" in text


def test_what_was_told_is_kept():
    curve, _ = _watched(terminal=False)
    assert curve.status == "succeeded"
    assert curve.base_eval_loss == 4.0
    assert curve.latest == {"train_loss": 4.0 - 2.4, "eval_loss": 1.5}
    assert curve.verified["effective_alpha"] == 5.01


def test_steps_that_run_again_are_drawn_anew():
    again = Message("100", "event", {"name": "rewound", "data": {"step": 2}})
    later = Message("101", "metric", {"step": 3, "values": {"train_loss": 9.0}})
    curve = watch([*RUN[:-1], again, later], Console(file=io.StringIO()))
    assert curve.losses == [3.9, 3.8, 9.0]
    assert curve.step == 3


def test_a_run_that_was_lost_says_so():
    lost = Message("100", "event", {"name": "run.lost", "data": {}})
    console = Console(file=io.StringIO(), width=100)
    watch([*RUN[:6], lost], console)
    assert "the run was lost; the job goes back to the queue" in console.file.getvalue()


def test_what_is_left_is_told_by_the_pace_of_the_last_steps():
    times = iter(range(0, 100, 2))
    curve = Curve(clock=lambda: float(next(times)))
    for message in RUN[:10]:
        curve.hear(message)
    assert curve.step == 6
    assert curve.eta_s == (24 - 6) * 2
    assert "about 36 s left" in curve.beside()


def test_how_fast_and_the_alpha_that_was_measured_stand_beside_the_losses():
    curve = Curve()
    values = {"train_loss": 1.0, "tokens_per_s": 12345.6, "epoch": 0.5, "noise_effective_alpha": 4.98}
    curve.hear(Message("1", "metric", {"step": 1, "values": values}))
    assert curve.beside() == "epoch 0.50  12,346 tokens/s  alpha measured 4.98"


def test_times_read_as_people_say_them():
    assert [duration(s) for s in (5, 89, 120, 5000, 11100)] == ["5 s", "89 s", "2 min", "83 min", "3 h 05"]


def test_sparks_fall_with_the_loss():
    assert sparks([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparks([]) == ""
    assert sparks([2.0, 2.0]) == "▁▁"
    assert len(sparks([1.0] * 500)) == 56
