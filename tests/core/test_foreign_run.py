"""The noise in somebody else's loop: what it holds of the loop, and for how long."""

import weakref

from neftune_core.foreign_run import ForeignRun
from neftune_core.noise import Noise
from tests.core.sft import tiny_model


class Batch:
    """Stands for what a loop has on the device."""


def trained():
    """Train as far as noise can tell; give the noise of it, and a watch on the loop's last batch."""
    last = Batch()
    run = ForeignRun(tiny_model(), Noise(5.0, 1), packing=False)
    assert run.loop.runs_here()
    run.detach()
    return run, weakref.ref(last)


def test_nothing_of_a_loop_is_held_after_it():
    """Its frame would keep the last batch for as long as the callback lives."""
    run, last = trained()

    assert last() is None
    assert run.loop.is_over()
    assert not run.loop.runs_here()
