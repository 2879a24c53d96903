"""Deaths around the writing of a checkpoint, and disks without room: what is left is good to go on from."""

import errno

import pytest

from neftune_core import failpoint
from neftune_core.errors import DiskFull
from neftune_core.progress import _no_room
from tests.core.test_resume import base, begin, names, numbers, spec_of, weights
from tests.core.tiny import Notebook

__all__ = ["base"]

STEPS = 14  # six in an epoch


@pytest.fixture
def harm(monkeypatch):
    """Let failpoints act in this process; an error there leaves on disk what a death would."""

    def harm(points: str) -> None:
        failpoint._reached.clear()
        monkeypatch.setenv("NEFT_TEST", "1")
        monkeypatch.setenv("FAILPOINTS", points)

    return harm


SPEC = spec_of(lora={"lora_dropout": 0.1}, training={"max_steps": STEPS, "save_every": 4})


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return begin(base, out, SPEC, checkpoints=False), weights(out, SPEC)


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    "case",
    [("checkpoint.part:raise:5@4", 4), ("checkpoint.written:raise:5@2", 4), ("step.taken:raise:5@7", 6)],
)
def test_what_dies_while_saving_goes_on_from_the_one_before(case, base, tmp_path, harm, whole):
    point, begun = case
    harm(point)
    with pytest.raises(OSError, match="Input/output"):
        begin(base, tmp_path, SPEC)
    harm("")
    told = begin(base, tmp_path, SPEC, resume=True)
    assert told.named("run.resumed")[0]["step"] == begun
    assert weights(tmp_path, SPEC) == whole[1]
    assert numbers([told]) == numbers([whole[0]])[begun + 1 :]
    assert not [name for name in names(tmp_path) if name.endswith((".tmp", ".gone"))]


def test_a_checkpoint_is_saved_after_each_epoch_and_at_the_end(base, tmp_path):
    spec = spec_of(training={"max_steps": STEPS, "save_every": "24h", "keep_checkpoints": 3})
    told = begin(base, tmp_path, spec)
    assert [step for step, _ in told.checkpoints] == [6, 12, STEPS]


@pytest.mark.fault("F7")
def test_what_dies_after_its_last_step_takes_none_again(base, tmp_path, whole, monkeypatch):
    from neftune_core import export  # noqa: PLC0415 - to be hurt

    with monkeypatch.context() as hurt:
        hurt.setattr(export, "save", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "gone")))
        with pytest.raises(OSError, match="gone"):
            begin(base, tmp_path, SPEC)
    told = begin(base, tmp_path, SPEC, resume=True)
    assert told.named("run.resumed")[0]["step"] == STEPS
    assert not told.steps
    assert weights(tmp_path, SPEC) == whole[1]
    assert told.outcome.final == whole[0].outcome.final


@pytest.mark.fault("F28")
def test_a_full_disk_costs_the_oldest_checkpoint_first(base, tmp_path, harm, whole):
    harm(f"checkpoint.part:raise:{errno.ENOSPC}@8")  # once, in the third checkpoint
    told = begin(base, tmp_path, SPEC)
    assert told.named("checkpoint.no_room") == [{"removed_oldest": True}]
    assert weights(tmp_path, SPEC) == whole[1]


@pytest.mark.fault("F28")
def test_a_disk_that_stays_full_ends_the_run_and_spares_the_last_good_checkpoint(
    base, tmp_path, monkeypatch, whole
):
    class Filling(Notebook):
        def checkpoint(self, step, path):
            super().checkpoint(step, path)
            monkeypatch.setenv("NEFT_TEST", "1")
            monkeypatch.setenv("FAILPOINTS", f"checkpoint.part:raise:{errno.ENOSPC}")

    with monkeypatch.context() as full:
        full.setattr("tests.core.test_resume.Notebook", Filling)
        with pytest.raises(DiskFull, match="keep_checkpoints"):
            begin(base, tmp_path, SPEC)
    assert DiskFull.code == "disk_full_work"
    monkeypatch.setenv("FAILPOINTS", "")
    told = begin(base, tmp_path, SPEC, resume=True)
    assert told.named("run.resumed")[0]["step"] == 4
    assert weights(tmp_path, SPEC) == whole[1]


@pytest.mark.fault("F28")
@pytest.mark.parametrize("place", ["neftune_core.final_report.write_tensors", "neftune_core.export.save"])
def test_a_disk_without_room_for_the_best_weights_or_the_result_is_told_as_such(
    place, base, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(place, full)
    with pytest.raises(DiskFull, match="free some space"):
        begin(base, tmp_path, SPEC, checkpoints=False)


def test_a_full_disk_is_known_by_its_number_also_in_words():
    from safetensors import SafetensorError  # noqa: PLC0415 - only here

    assert _no_room(OSError(errno.EDQUOT, "quota"))
    assert _no_room(SafetensorError("I/O error: No space left on device (os error 28)"))
    assert not _no_room(OSError(errno.EIO, "broken"))
    assert not _no_room(SafetensorError("header too large"))
