"""The tree of things that keep a standalone instance from running.

    StandaloneError          standalone_error
    ├── HomeBusy             home_busy           another instance holds this home
    ├── HomeUnusable         home_unusable       not ours, or out of reach for the database's user
    ├── PortTaken            port_taken
    ├── MissingProgram       missing_program     no binary of Postgres or Redis at hand
    ├── ServiceFailed        service_failed      a child did not come up
    └── DemoFailed           demo_failed         a step of the demo did not do what it should

A message names the thing and the way out: it is all that somebody at a terminal sees.
"""

from typing import ClassVar


class StandaloneError(Exception):
    """Something on this machine is in the way."""

    code: ClassVar[str] = "standalone_error"


class HomeBusy(StandaloneError):
    """Another instance runs on this home."""

    code = "home_busy"


class HomeUnusable(StandaloneError):
    """The home can't be used by this user, or by the one the database runs as."""

    code = "home_unusable"


class PortTaken(StandaloneError):
    """Somebody else listens on the address."""

    code = "port_taken"


class MissingProgram(StandaloneError):
    """No binary of a needed server is installed."""

    code = "missing_program"


class ServiceFailed(StandaloneError):
    """A child did not start, or did not become ready in time."""

    code = "service_failed"


class DemoFailed(StandaloneError):
    """A step of the demo did not do what it should; the message says which and why."""

    code = "demo_failed"
