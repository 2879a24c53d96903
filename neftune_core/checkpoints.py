"""Checkpoints: folders from which a run goes on as if it had never stopped.

    step-00000010/
        weights.safetensors     what trains: the adapter, or all weights
        optimizer.safetensors   its moments, "<parameter>/<name>"
        generators.safetensors  states of the random generators
        best.safetensors        the weights with the lowest eval_loss so far, unless they are the base's
        state.json              everything else, and what the checkpoint belongs to
        manifest.json           size and sha256 of each of these files

A folder is complete or has another name: it is written as ``….tmp``, brought to disk, then renamed.
Nothing is a pickle. Knows files; what they mean is :mod:`neftune_core.progress`.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from neftune_core.errors import CheckpointDamaged, CheckpointMismatch
from neftune_core.export import sha256
from neftune_core.failpoint import failpoint
from neftune_core.surroundings import versions

FORMAT = 1
_PARTS = ("weights", "optimizer", "generators")
_BEST, _STATE, _MANIFEST = "best.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d{8})")
_LEFT = re.compile(r"step-\d{8}\.(tmp|gone)")  # by a process that died saving or removing
_FILES_NAMED = 8

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Belonging:
    """What a checkpoint and the run that goes on from it must have in common."""

    spec_sha256: str  # of everything in the spec that decides the weights
    data_sha256: str  # of the examples, in their order
    precision: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole. ``versions`` are those of the libraries that wrote it."""

    folder: Path
    step: int
    values: Mapping[str, Any]
    versions: Mapping[str, str]

    def tensors(self, part: str) -> Tensors:
        """Read one part, on the host."""
        return load_file(self.folder / f"{part}.safetensors")

    @property
    def best(self) -> Path | None:
        """Give the file of the best weights, where they are not the base's."""
        path = self.folder / _BEST
        return path if path.is_file() else None


class Checkpoints:
    """The newest checkpoints of one run in a folder."""

    def __init__(self, folder: Path, belonging: Belonging, keep: int) -> None:
        self._folder, self._belonging, self._keep = folder, belonging, keep

    def save(
        self, step: int, parts: Mapping[str, Tensors], values: Mapping[str, Any], best: Path | None
    ) -> Path:
        """Write weights, optimizer, generators and plain values; let go of what is no longer wanted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"step-{step:08d}"
        with _appearing(target) as folder:
            for part in _PARTS:
                write_tensors(folder / f"{part}.safetensors", parts[part])
                failpoint("checkpoint.part")
            if best is not None:
                share(best, folder / _BEST)
            state = {
                "format": FORMAT,
                "step": step,
                "belongs_to": asdict(self._belonging),
                "versions": versions(),
                "values": values,
            }
            _write_json(folder / _STATE, state)
            _write_json(folder / _MANIFEST, _listed(folder))
        self._let_go(step)
        return target

    def give_room(self) -> bool:
        """Remove what is unfinished and the oldest checkpoint, if it is not the only one; tell whether so."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if _LEFT.fullmatch(path.name):
                    shutil.rmtree(path)
        known = sorted(self._known())
        if len(known) < 2:
            return False
        _remove(known[0][1])
        return True

    def newest(self, refused: Callable[[Path, CheckpointDamaged], None]) -> Checkpoint | None:
        """Read the newest good checkpoint; ``refused`` hears of each damaged one that is passed over.

        ``None``: there is none at all. Raises :class:`CheckpointDamaged` when all are damaged, and
        :class:`CheckpointMismatch` when one belongs to another run.
        """
        last: CheckpointDamaged | None = None
        for _, folder in sorted(self._known(), reverse=True):
            try:
                return read(folder, self._belonging)
            except CheckpointDamaged as fault:
                refused(folder, fault)
                last = fault
        if last is not None:
            raise last
        return None

    def _known(self) -> Iterator[tuple[int, Path]]:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if match := _NAME.fullmatch(path.name):
                    yield int(match[1]), path

    def _let_go(self, step: int) -> None:
        """Remove the oldest, those beyond this step (damaged, or of a walk given up), and the unfinished."""
        known = sorted(self._known(), reverse=True)
        wanted = [path for at, path in known if at <= step][: self._keep]
        for _, path in known:
            if path not in wanted:
                _remove(path)
        for path in self._folder.iterdir():
            if _LEFT.fullmatch(path.name):
                shutil.rmtree(path)


def read(folder: Path, belonging: Belonging) -> Checkpoint:
    """Read a checkpoint whose every byte is the one that was written, and that belongs to this run."""
    _verify(folder)
    try:
        state = json.loads((folder / _STATE).read_bytes())
        _refuse_another(state, belonging, folder)
        return Checkpoint(folder, state["step"], state["values"], state["versions"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise _damaged(folder, f"cannot be read ({type(fault).__name__})") from fault


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write tensors by name, making the folder; whoever reads the file finds all of it.

    It is not waited for until the disk has it: that may take long, and matters to checkpoints only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f"{path.name}.tmp")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, passing)
    passing.replace(path)


def _verify(folder: Path) -> None:
    try:
        listed = json.loads((folder / _MANIFEST).read_bytes())
        found = _listed(folder)
    except (OSError, ValueError) as fault:
        raise _damaged(folder, f"cannot be read ({type(fault).__name__})") from fault
    if listed != found:
        told = listed if isinstance(listed, dict) else {}
        names = sorted(name for name in {*told, *found} if told.get(name) != found.get(name))
        raise _damaged(folder, f"is not as it was written: {', '.join(names[:_FILES_NAMED])} differ")


def _refuse_another(state: Mapping[str, Any], belonging: Belonging, folder: Path) -> None:
    if state["format"] != FORMAT:
        raise CheckpointMismatch(f"Checkpoint {folder.name} is of format {state['format']}, not {FORMAT}.")
    found, wanted = state["belongs_to"], asdict(belonging)
    different = [name.removesuffix("_sha256") for name in wanted if found[name] != wanted[name]]
    if different:
        raise CheckpointMismatch(
            f"Checkpoint {folder.name} belongs to another run: {' and '.join(different)} differ. "
            "Name another output folder, or ask for what was asked for then."
        )


def _damaged(folder: Path, why: str) -> CheckpointDamaged:
    return CheckpointDamaged(f"Checkpoint {folder.name} {why}.")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a folder to fill that takes its name only when all of it is on disk."""
    passing = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(passing, ignore_errors=True)  # what a killed run left
    passing.mkdir()
    yield passing
    for path in passing.iterdir():
        _to_disk(path)
    _to_disk(passing)
    failpoint("checkpoint.written")
    if target.exists():
        _remove(target)
    passing.rename(target)
    _to_disk(target.parent)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; half removed it has no checkpoint's name."""
    passing = folder.with_name(f"{folder.name}.gone")
    shutil.rmtree(passing, ignore_errors=True)
    folder.rename(passing)
    shutil.rmtree(passing)


def share(source: Path, target: Path) -> None:
    """Give a file that is only ever replaced a second name; copy it where that can't be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _listed(folder: Path) -> dict[str, object]:
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name != _MANIFEST
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _to_disk(path: Path) -> None:
    """Wait until a file's or folder's content survives a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
