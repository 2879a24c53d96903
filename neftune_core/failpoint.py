"""Named places where a test may hurt a process: ``failpoint("checkpoint.written")``.

Does nothing unless ``NEFT_TEST=1``. Then ``FAILPOINTS`` says what happens where: ``name:action`` or
``name:action:argument``, with ``@N`` only the N-th time in a process, several with commas between them.

    claim.committed:kill            kill -9 of this process
    checkpoint.written:kill@2
    publish.stored:stop             SIGSTOP of this process
    settle.before:sleep:3           seconds
    checkpoint.written:raise:28     OSError with this errno
    run.spawned:exit:3              leave at once with this status
    step.inside:oom                 want of the device's memory, or of the host's without torch

With ``FAILPOINTS_ONCE`` set to a folder, each of them acts once in all processes together: the first one
to reach it leaves a file there.
"""

import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

NAMES = ("NEFT_TEST", "FAILPOINTS", "FAILPOINTS_ONCE")

_reached: Counter[str] = Counter()


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens at one place."""

    action: str
    argument: str
    time: int | None  # in this process; None: each time


def failpoint(name: str) -> None:
    """Do here what a test has asked for; nothing otherwise."""
    if os.environ.get("NEFT_TEST") != "1":
        return
    plan = plans(os.environ.get("FAILPOINTS", "")).get(name)
    if plan is None:
        return
    _reached[name] += 1
    if plan.time in (None, _reached[name]) and _first(name):
        _act(plan)


def plans(text: str) -> dict[str, Plan]:
    """Read ``FAILPOINTS``. Raises ``ValueError`` where it makes no sense: a test that hurts nothing lies."""
    found: dict[str, Plan] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        said, _, count = part.partition("@")
        name, _, rest = said.partition(":")
        action, _, argument = rest.partition(":")
        if not name or action not in _ACTIONS:
            raise ValueError(f"no failpoint: {part!r}")
        found[name] = Plan(action, argument, int(count) if count else None)
    return found


def _first(name: str) -> bool:
    folder = os.environ.get("FAILPOINTS_ONCE")
    if not folder:
        return True
    try:
        (Path(folder) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _act(plan: Plan) -> None:
    match plan.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(float(plan.argument))
        case "raise":
            number = int(plan.argument)
            raise OSError(number, os.strerror(number))
        case "exit":
            os._exit(int(plan.argument or 1))
        case "oom":
            torch = sys.modules.get("torch")  # never loaded for this
            raise (torch.OutOfMemoryError if torch else MemoryError)("out of memory")


_ACTIONS = ("kill", "stop", "sleep", "raise", "exit", "oom")
