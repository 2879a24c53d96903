"""Ids as this surface spells them: the native id's own tail behind another prefix, so nothing maps them.

What is no such id gives a native id that nobody has, and so reads like any other unknown one.
"""

from datetime import datetime

TRAIN = "train"  # the one kind of job there is on this surface
PARENT = "parent"  # where the metadata of a series' job names the series
NOBODY = ""  # no ledger has it


def ours(prefix: str, native: str) -> str:
    """Spell a native id with this prefix."""
    return prefix + native.partition("_")[2]


def tail(prefix: str, given: str) -> str:
    """Give what stands behind the prefix, or nothing when something else does."""
    return given.removeprefix(prefix) if given.startswith(prefix) else NOBODY


def native_job(given: str) -> str:
    """Give the native id of ``ftjob-…``."""
    return f"job_{tail('ftjob-', given)}"


def native_series(given: str) -> str:
    """Give the native id of the series that this would be: here it is called a job, too."""
    return f"swp_{tail('ftjob-', given)}"


def seconds(moment: datetime) -> int:
    """Give a time as this surface tells it."""
    return int(moment.timestamp())
