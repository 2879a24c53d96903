"""What a run looks like while one watches it."""

import io

from rich.console import Console

from standalone.demo.screen import sparks, watch
from standalone.demo.stream import Message

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


def test_a_second_attempt_begins_a_new_curve():
    again = [*RUN[:-1], Message("100", "event", {"name": "run.started", "data": {}}), *RUN[1:6]]
    curve = watch(again, Console(file=io.StringIO()))
    assert curve.losses == [3.9, 3.8]
    assert curve.step == 2


def test_sparks_fall_with_the_loss():
    assert sparks([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparks([]) == ""
    assert sparks([2.0, 2.0]) == "▁▁"
    assert len(sparks([1.0] * 500)) == 56
