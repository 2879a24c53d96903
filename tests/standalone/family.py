"""A parent with children, in a process of its own: `python -m tests.standalone.family HOME CHILD...`.

Each CHILD is a module beside this one. What the parent says goes to its output; SIGTERM stops it.
"""

import os
import signal
import sys
import time
from pathlib import Path

from standalone.children import Children, ModuleChild

GRACE_S = float(os.environ.get("GRACE_S", "2"))


def say(who: str, what: str) -> None:
    sys.stdout.write(f"{who} {what}\n")
    sys.stdout.flush()


def main() -> None:
    home, *modules = sys.argv[1:]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    children = Children(say)
    for name in modules:
        env = {**os.environ, "CHILD": name, "CHILD_HOME": home}
        child = ModuleChild(name, "tests.standalone.child", env, Path(home, f"{name}.log"), grace_s=GRACE_S)
        children.start(child)
    while not asked:
        children.tend()
        time.sleep(0.02)
    children.stop(lambda: len(asked) > 1)


if __name__ == "__main__":
    main()
