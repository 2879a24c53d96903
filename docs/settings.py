"""Write docs/settings.md from the settings classes, so that it cannot tell anything else than they do.

`python docs/settings.py` prints it; `make docs` writes it; a test holds the file against it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from neftune_store.settings import StoreSettings
from standalone.settings import StandaloneSettings
from worker.settings import GenerateSettings, WorkerSettings

INTRO = """\
# Settings

Environment variables, read once at start-up; a wrong one ends the start with a sentence that names it.
`make docs` writes this page from the classes.

`make up` and `make demo` set what they need themselves: there, the last table is enough, and any other
setting that is in the environment reaches the api and the worker as well. Under compose,
`docker-compose.yml` sets them, and secrets come as files ([operations](operations.md)).
"""

SECTIONS: dict[type[BaseSettings], str] = {
    StoreSettings: "Api, worker and reconciler",
    ApiSettings: "Api alone",
    WorkerSettings: "Worker, and the process that answers",
    GenerateSettings: "The process that answers alone: `python -m worker.generate`",
    StandaloneSettings: "Standalone: `make up`, `make demo`",
}

# Defaults that depend on the machine.
COMPUTED = {
    "generator": "this Python with `-m neftune_core serve`",
    "runner": "this Python with `-m neftune_core run`",
    "spool_dir": "the system's temporary folder",
    "worker_name": "host name and process id",
}


def own_fields(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """List the fields that this class adds to those it builds on."""
    inherited = {name for base in settings.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return {name: field for name, field in settings.model_fields.items() if name not in inherited}


def default_of(name: str, field: FieldInfo) -> str:
    """Say a default as one would write it in the environment."""
    default = field.default
    if name in COMPUTED:
        return COMPUTED[name]
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "unset"
    if isinstance(default, bool):
        return "`on`" if default else "`off`"
    return f"`{default}`"


def lines() -> Iterator[str]:
    """Give the page."""
    yield INTRO
    for settings, title in SECTIONS.items():
        yield f"## {title}\n\n| setting | default | meaning |\n|---|---|---|"
        for name, field in own_fields(settings).items():
            meaning = (field.description or "").replace("|", "or").replace("<", "&lt;")
            yield f"| `{name.upper()}` | {default_of(name, field)} | {meaning} |"
        yield ""


if __name__ == "__main__":
    text = "\n".join(lines())
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
