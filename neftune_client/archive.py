"""An artifact's archive, unpacked without trust: plain files in one folder, nothing else.

The folder appears whole or not at all.
"""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from neftune_client.errors import ArchiveRefused, BadInput


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Write the archive's one folder as ``folder``, whose name it must have; refuse everything odd."""
    if folder.exists():
        raise BadInput(f"{folder} is there already; move it away or choose another place.")
    making = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    try:
        with tarfile.open(archive, mode="r:") as tar:
            names = _write(tar, making, folder.name, archive.stat().st_size)
        making.replace(folder)
    except tarfile.TarError as error:
        raise ArchiveRefused(f"{archive.name} is no archive: {error}") from error
    except OSError as error:
        raise BadInput(f"{folder} can't be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return [folder / name for name in names]


def _write(tar: tarfile.TarFile, out: Path, name: str, most_bytes: int) -> list[PurePosixPath]:
    out.mkdir(parents=True)
    members = [(member, _safe_name(member, name)) for member in tar.getmembers() if not member.isdir()]
    if sum(member.size for member, _ in members) > most_bytes:  # holes: it is not compressed
        raise ArchiveRefused(f"The archive unpacks to more than its {most_bytes} bytes.")
    if len({inner for _, inner in members}) < len(members):
        raise ArchiveRefused("The archive holds a name twice.")
    for member, inner in members:
        path = out / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        with path.open("xb") as file:
            if content is not None:
                shutil.copyfileobj(content, file)
    return [inner for _, inner in members]


def _safe_name(member: tarfile.TarInfo, folder: str) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not member.isreg() or ".." in name.parts or name.parts[:1] != (folder,) or len(name.parts) < 2:
        raise ArchiveRefused(
            f"The archive holds {member.name!r}, which is no plain file of its own folder. Nothing was kept."
        )
    return name.relative_to(folder)
