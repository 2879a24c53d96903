import math

import pytest

from neftune_core.errors import SpecError
from neftune_core.plan import held_out_rows, schedule
from neftune_core.spec import JobSpec


def plan(rows=100, **training):
    return schedule(rows, JobSpec(model="a/b", dataset="ds_1", training=training))


def test_a_step_has_batch_size_examples_and_the_last_one_of_an_epoch_may_be_smaller():
    assert (plan(100, batch_size=16).steps_per_epoch, plan(96, batch_size=16).steps_per_epoch) == (7, 6)
    assert plan(1, batch_size=16).steps_per_epoch == 1


@pytest.mark.parametrize(
    ("rows", "epochs", "total"), [(100, 3.0, 21), (100, 0.5, 4), (100, 0.01, 1), (30, 0.1, 1), (480, 0.1, 3)]
)
def test_epochs_may_be_a_fraction_and_give_at_least_one_step(rows, epochs, total):
    assert plan(rows, epochs=epochs).total_steps == total


def test_max_steps_replace_epochs():
    assert plan(100, max_steps=5).total_steps == 5


def test_no_rows_is_refused():
    with pytest.raises(SpecError):
        plan(0)


@pytest.mark.parametrize(
    ("every", "steps"),
    [(0.25, {5, 10, 15, 20, 21}), (10, {10, 20, 21}), (100, {21}), (1.0, {21}), (0.001, set(range(1, 22)))],
)
def test_held_out_rows_are_measured_every_so_often_and_at_the_end(every, steps):
    assert plan(100, eval_every=every).eval_steps == steps


def transformers_rate(step, *, total, warmup, scheduler):
    """The published schedules of transformers, with the step they call current."""
    current = step - 1
    if current < warmup:
        return current / max(1, warmup)
    if scheduler == "constant":
        return 1.0
    if scheduler == "linear":
        return max(0.0, (total - current) / max(1, total - warmup))
    progress = (current - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("max_steps", [1, 2, 7, 100])
def test_the_rates_are_those_of_transformers(scheduler, warmup_ratio, max_steps):
    found = plan(max_steps=max_steps, warmup_ratio=warmup_ratio, scheduler=scheduler, learning_rate=0.01)
    for step in range(1, max_steps + 1):
        expected = 0.01 * transformers_rate(
            step, total=max_steps, warmup=found.warmup_steps, scheduler=scheduler
        )
        assert found.learning_rate(step) == pytest.approx(expected, abs=1e-15)


def test_warm_up_is_rounded_up_but_a_single_step_learns():
    assert plan(max_steps=100, warmup_ratio=0.03).warmup_steps == 3
    assert plan(max_steps=101, warmup_ratio=0.03).warmup_steps == 4
    assert plan(max_steps=1, warmup_ratio=1.0).learning_rate(1) > 0


@pytest.mark.parametrize(
    ("rows", "share", "held"), [(100, 0.05, 5), (19, 0.05, 0), (2, 0.5, 1), (1, 0.5, 0), (10, 0.0, 0)]
)
def test_a_split_keeps_a_training_row(rows, share, held):
    assert held_out_rows(rows, share) == held


def test_a_smaller_last_step_may_be_left_out_but_never_the_only_one():
    assert plan(100, batch_size=16, drop_last=True).steps_per_epoch == 6
    assert plan(96, batch_size=16, drop_last=True).steps_per_epoch == 6
    assert plan(15, batch_size=16, drop_last=True, epochs=2.0).total_steps == 2
