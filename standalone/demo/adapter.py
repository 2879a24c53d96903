"""The adapter's archive, unpacked without trust: plain files in one folder, nothing else."""

import tarfile
from pathlib import Path, PurePosixPath

from standalone.errors import DemoFailed

FOLDER = "adapter"
MOST_BYTES = 512 * 1024 * 1024
NEEDED = ("adapter_config.json", "adapter_model.safetensors")


def unpack(archive: Path, out: Path) -> list[Path]:
    """Write the archive's folder under ``out``; refuse links, devices, odd names and bombs."""
    written: list[Path] = []
    try:
        with tarfile.open(archive, mode="r:") as tar:
            members = [(member, _safe_name(member)) for member in tar.getmembers() if not member.isdir()]
            if sum(member.size for member, _ in members) > MOST_BYTES:
                raise DemoFailed(f"{archive.name} unpacks to more than {MOST_BYTES} bytes.")
            for member, name in members:
                content = tar.extractfile(member)
                path = out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read() if content else b"")
                written.append(path)
    except tarfile.TarError as error:
        raise DemoFailed(f"{archive.name} is no archive: {error}") from error
    missing = [name for name in NEEDED if out / FOLDER / name not in written]
    if missing:
        raise DemoFailed(f"{archive.name} lacks {', '.join(missing)}.")
    return written


def _safe_name(member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not member.isreg() or ".." in name.parts or name.parts[:1] != (FOLDER,):
        raise DemoFailed(f"The archive holds {member.name!r}, which is no plain file of its own folder.")
    return name
