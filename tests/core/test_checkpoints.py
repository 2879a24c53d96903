"""Checkpoints as files: whole or not there, never pickled, and only as many as are wanted."""

import json
import shutil
from importlib import metadata

import pytest
import torch

from neftune_core import checkpoints
from neftune_core.checkpoints import Belonging, Checkpoints, read, write_tensors
from neftune_core.errors import CheckpointDamaged, CheckpointMismatch

BELONGING = Belonging("spec", "data", "fp32")


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path, BELONGING, keep=2)


def parts_of(value=0.0):
    return {
        "weights": {"a": torch.full((3,), value)},
        "optimizer": {"a/step": torch.tensor(2.0)},
        "generators": {"cpu": torch.get_rng_state()},
    }


def save(store, step, value=0.0, best=None):
    return store.save(step, parts_of(value), {"n": step, "third": 1 / 3}, best)


def refuse(folder, fault):
    raise AssertionError(f"{folder} was refused: {fault}")


def test_what_was_saved_is_read_to_the_bit(store):
    save(store, 7, value=0.1)

    found = store.newest(refuse)

    assert (found.step, found.values) == (7, {"n": 7, "third": 1 / 3})
    for part, tensors in parts_of(0.1).items():
        assert {name: tensor.tolist() for name, tensor in found.tensors(part).items()} == {
            name: tensor.tolist() for name, tensor in tensors.items()
        }
        assert all(found.tensors(part)[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_no_file_is_a_pickle(store, tmp_path):
    best = tmp_path / "best.safetensors"
    write_tensors(best, {"a": torch.ones(1)})

    folder = save(store, 1, best=best)

    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert not [path for path in folder.iterdir() if path.read_bytes()[:2] in (b"\x80\x04", b"PK")]


def test_no_checkpoint_is_none(store):
    assert store.newest(refuse) is None


def test_only_the_newest_are_kept(store, tmp_path):
    for step in (1, 2, 3):
        save(store, step)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_those_beyond_the_step_that_is_saved_are_let_go(store, tmp_path):
    """They were damaged, or a run went on from before them; they must not be taken for the newest."""
    for step in (4, 8):
        save(store, step)

    save(store, 5)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_a_step_saved_again_replaces_what_was_there(store):
    save(store, 3, value=1.0)
    save(store, 3, value=2.0)

    assert store.newest(refuse).tensors("weights")["a"].tolist() == [2.0] * 3


@pytest.mark.fault("F5")
@pytest.mark.parametrize("at", range(6))
def test_a_process_that_dies_while_it_saves_leaves_the_checkpoint_before(at, store, tmp_path, monkeypatch):
    """Whichever of its six waits for the disk it dies in; what it left is swept by the next saving."""
    save(store, 1)
    waits = []

    def die(path):
        waits.append(path)
        if len(waits) > at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "_to_disk", die)
        with pytest.raises(KeyboardInterrupt):
            save(store, 2)

    assert store.newest(refuse).step == 1
    save(store, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert store.newest(refuse).step == 2


@pytest.mark.parametrize("name", ["step-00000001.tmp", "step-00000001.gone"])
def test_what_a_process_left_unfinished_is_swept_whichever_step_is_saved_next(name, store, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "weights.safetensors").write_bytes(b"much")

    save(store, 2)

    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_all_is_on_disk_before_the_folder_takes_its_name(store, tmp_path, monkeypatch):
    waits = []
    to_disk = checkpoints._to_disk

    def noted(path):
        waits.append((path, (tmp_path / "step-00000001").exists()))
        to_disk(path)

    monkeypatch.setattr(checkpoints, "_to_disk", noted)
    folder = save(store, 1)

    passing = tmp_path / "step-00000001.tmp"
    before = {path for path, named in waits if not named}
    assert {passing / path.name for path in folder.iterdir()} | {passing} <= before
    assert [path for path, named in waits if named] == [tmp_path]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "weights.safetensors").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").write_text("[1"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "state.json").write_text("{}"),
        lambda folder: (folder / "best.safetensors").write_bytes(b""),
        lambda folder: shutil.rmtree(folder) or folder.mkdir(),
    ],
)
def test_what_is_missing_added_or_changed_is_damage(damage, store):
    folder = save(store, 1)
    damage(folder)

    with pytest.raises(CheckpointDamaged, match="step-00000001"):
        read(folder, BELONGING)


@pytest.mark.parametrize("field", ["spec_sha256", "data_sha256", "precision"])
def test_a_checkpoint_says_what_of_it_is_another_runs(field, store):
    folder = save(store, 1)
    other = Belonging(**{**BELONGING.__dict__, field: "other"})

    with pytest.raises(CheckpointMismatch, match=f"another run: {field.removesuffix('_sha256')} differ"):
        read(folder, other)


def test_a_checkpoint_of_another_format_is_refused(store, monkeypatch):
    folder = save(store, 1)
    monkeypatch.setattr(checkpoints, "FORMAT", 2)

    with pytest.raises(CheckpointMismatch, match="format 1, not 2"):
        read(folder, BELONGING)


@pytest.mark.parametrize("links", [True, False])
def test_the_best_weights_stay_those_of_the_checkpoint(links, store, tmp_path, monkeypatch):
    """Whether a file can have two names on this disk or not."""
    best = tmp_path / "best.safetensors"
    write_tensors(best, {"a": torch.ones(1)})
    if not links:
        monkeypatch.setattr(checkpoints.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    folder = save(store, 1, best=best)

    write_tensors(best, {"a": torch.zeros(1)})

    assert checkpoints.load_file(read(folder, BELONGING).best)["a"].tolist() == [1.0]


def test_the_state_can_be_read_by_a_person(store):
    told = json.loads((save(store, 12) / "state.json").read_text())

    assert told["step"] == 12
    assert told["versions"]["torch"] == metadata.version("torch")
