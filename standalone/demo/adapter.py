"""The adapter's archive, unpacked without trust: plain files at the top, nothing else."""

import tarfile
from pathlib import Path, PurePosixPath

from standalone.demo.failure import DemoFailed

MOST_BYTES = 512 * 1024 * 1024
NEEDED = ("adapter_config.json", "adapter_model.safetensors")


def unpack(archive: Path, out: Path) -> list[Path]:
    """Write the archive's files into ``out``; refuse links, devices, odd names and bombs."""
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with tarfile.open(archive, mode="r:") as tar:
        members = tar.getmembers()
        if sum(member.size for member in members) > MOST_BYTES:
            raise DemoFailed(f"{archive.name} unpacks to more than {MOST_BYTES} bytes.")
        for member in members:
            if member.isdir():
                continue
            path = out / _safe_name(member)
            content = tar.extractfile(member)
            if content is None:
                raise DemoFailed(f"{archive.name} holds {member.name!r}, which can't be read.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
            written.append(path)
    missing = [name for name in NEEDED if not (out / name).is_file()]
    if missing:
        raise DemoFailed(f"{archive.name} lacks {', '.join(missing)}.")
    return written


def _safe_name(member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not member.isreg() or name.is_absolute() or ".." in name.parts or not name.parts:
        raise DemoFailed(f"The archive holds {member.name!r}, which is no plain file of its own folder.")
    return name
