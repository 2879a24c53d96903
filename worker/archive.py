"""A folder as one file whose bytes depend on nothing but the folder's names and bytes.

The same result gives the same sha256 on any machine at any time: sorted names, fixed times, owner and
modes, no compression. Only regular files are taken, and no link is followed:
the folder was written by a process that is not trusted.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from worker.errors import ResultRefused

MAX_FILES = 10_000


def result_path(root: Path, said: str) -> Path:
    """Find what the runner named, refusing whatever leads out of ``root``."""
    parts = Path(said).parts
    if not parts or Path(said).is_absolute() or ".." in parts or "\x00" in said:
        raise ResultRefused("a result has to lie under the output folder")
    path = root
    for part in parts:
        path /= part
        if path.is_symlink():
            raise ResultRefused("a result may not be a link")
    if not path.exists():
        raise ResultRefused("a result is announced but missing")
    return path


def files_under(folder: Path) -> list[Path]:
    """Give the folder's files in the order of their names, relative to it."""
    found = sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())
    if not found:
        raise ResultRefused("a result folder is empty")
    if len(found) > MAX_FILES:
        raise ResultRefused("a result folder holds too many files")
    return [path.relative_to(folder) for path in found]


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(Path(entry.path))
        elif stat.S_ISREG(mode):
            yield Path(entry.path)
        else:
            raise ResultRefused("a result folder holds something that is not a plain file")


def pack(folder: Path, target: Path) -> None:
    """Write ``folder`` as a tar file whose members carry the folder's own name."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in files_under(folder):
            with open_plain(folder / name) as source:
                member = tarfile.TarInfo(f"{folder.name}/{name.as_posix()}")
                member.size = os.fstat(source.fileno()).st_size
                member.mode = 0o644
                tar.addfile(member, source)


def open_plain(path: Path) -> IO[bytes]:
    """Open a regular file, never through a link."""
    opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise ResultRefused("a result is not a plain file")
    return opened
