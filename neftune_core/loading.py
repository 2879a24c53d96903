"""Importing torch and its like without a search for garbage.

What they make stays for as long as the process. Python's collector would go over it again and again while
it comes in, and once more at the end: a third of what a short run computes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def libraries(*, before_all: bool) -> Iterator[None]:
    """Search for no garbage while libraries are imported.

    ``before_all`` else is made, models above all: what is there afterwards is never searched again. Later
    imports leave it be, for a model that was let go of would stay.
    """
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before_all:
            gc.freeze()
        if searches:
            gc.enable()
