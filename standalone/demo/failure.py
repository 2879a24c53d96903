"""What ends the demo early."""

from standalone.errors import StandaloneError


class DemoFailed(StandaloneError):
    """A step of the demo did not do what it should; the message says which and why."""

    code = "demo_failed"
