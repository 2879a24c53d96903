"""Whether somebody else's training loop still runs, and whether it is what calls.

Knows the interpreter's stack. Knows nothing of trainers but where their callbacks are called from.
"""

import inspect
import threading
from types import FrameType

# Whose frames lie between a loop and this file when a callback asks.
_BETWEEN = (__name__, "neftune_core.foreign_run", "neftune_core.trl", "transformers.trainer_callback")


class ForeignLoop:
    """The training loop that called a callback; it tells whether it still runs.

    Trainers tell nobody of an exception, so hooks may outlive their training; in a plain one that comes
    after, they must do nothing.
    """

    def __init__(self) -> None:
        frame = inspect.currentframe()
        while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
            frame = frame.f_back
        self._frame: FrameType | None = frame
        self._thread = threading.current_thread()

    def runs_here(self) -> bool:
        """Tell whether the caller is called by the loop."""
        frame = inspect.currentframe()
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None

    def let_go(self) -> None:
        """Take it for over; its frame holds the loop's last batch and losses."""
        self._frame = None

    def is_over(self) -> bool:
        """Tell whether the loop has returned or raised; another thread's does so with its thread."""
        if self._frame is None:
            return True
        if threading.current_thread() is self._thread:
            return not self.runs_here()
        return not self._thread.is_alive()
