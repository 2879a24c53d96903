"""A child of the family; what it does is in its name."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

NAME = os.environ["CHILD"]
HOME = Path(os.environ["CHILD_HOME"])
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def tell(word: str) -> None:
    with (HOME / "told").open("a") as told:
        told.write(f"{NAME} {word}\n")


def leave(_number: int, _frame: object) -> None:
    tell("leaves")
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in NAME else leave)
if "parent" in NAME:
    subprocess.Popen(SLEEP)
if "grandparent" in NAME:  # a grandchild that escapes from group and session
    code = f"import os, sys; os.setsid(); os.execv(sys.executable, {SLEEP!r})"
    subprocess.Popen([sys.executable, "-c", code])
(HOME / f"{NAME}.pid").write_text(str(os.getpid()))
tell("starts")
if "short" in NAME:
    sys.exit(3)
while True:
    time.sleep(600)
