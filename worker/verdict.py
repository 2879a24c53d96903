"""What a run's end means for its job. Pure: exit status, last words and our own reason in, verdict out.

we asked       the table's answer: cancelled, paused, back to the queue, or a failure with our code
exit 0         succeeded, if the result it owes is there
a failed line  its code; asked for again only if the runner says it may help
a signal       the runner crashed: back to the queue, bounded by the crash count
out of memory  the kernel says so: tried a second time only
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from neftune_core.messages import EXIT_OK, EXIT_STOPPED, Failed
from neftune_store.lifecycle import Intent
from neftune_store.settling import Reason
from worker.memory import Memory
from worker.stop import Stop

NO_MEMORY = Memory()
ADVICE = "Lower batch_size or max_length, or give the worker more memory."


class Move(StrEnum):
    """What becomes of the job."""

    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    PAUSE = "pause"
    GIVE_BACK = "give_back"
    LEAVE = "leave"  # it is no longer ours; whoever has it decides


@dataclass(frozen=True, slots=True)
class Verdict:
    """The move, and the reason that is kept with the job."""

    move: Move
    reason: Reason = "once"  # of a give-back
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the runner ended."""

    status: int  # negative: the signal that killed it
    failed: Failed | None
    artifacts: Mapping[str, str]
    owed: tuple[str, ...]  # the artifacts of which one has to be there
    memory: Memory = NO_MEMORY


def give_back(reason: Reason, code: str, message: str) -> Verdict:
    """Back to the queue; the store counts and decides when it is enough."""
    return Verdict(Move.GIVE_BACK, reason, code, message)


def failure(code: str, message: str) -> Verdict:
    """The end: trying again would not help."""
    return Verdict(Move.FAIL, code=code, message=message)


OURS = {
    Stop.LOST: Verdict(Move.LEAVE),
    Stop.LEASE: give_back("infra", "database_unavailable", "The database did not answer for too long."),
    Stop.CANCEL: Verdict(Move.CANCEL),
    Stop.PAUSE: Verdict(Move.PAUSE),
    Stop.DRAIN: give_back("drained", "drained", "The worker was stopped."),
    Stop.STALLED: give_back("once", "stalled", "The runner was silent for too long."),
    Stop.TIME_LIMIT: failure("time_limit", "The run took longer than max_minutes; raise it or train less."),
    Stop.PROTOCOL: give_back("once", "internal", "The runner does not speak its supervisor's language."),
    Stop.BROKEN: give_back("once", "internal", "What the runner reported could not be recorded."),
}


def verdict(stop: Stop | None, ending: Ending) -> Verdict:
    """Judge a finished run."""
    # It may have come to its end while a leaving worker asked it to stop: a finished run is not thrown away.
    if stop is not None and not (stop is Stop.DRAIN and _complete(ending)):
        return OURS[stop]
    if ending.failed is not None:
        return _said(ending.failed)
    if ending.status == EXIT_OK:
        return _finished(ending)
    return _crashed(ending.status, ending.memory)


def _complete(ending: Ending) -> bool:
    return ending.status == EXIT_OK and ending.failed is None and _paid(ending)


def _paid(ending: Ending) -> bool:
    return any(name in ending.artifacts for name in ending.owed)


def _said(failed: Failed) -> Verdict:
    if failed.retryable:
        return give_back("infra", failed.code, failed.detail)
    if failed.code == "internal":
        return give_back("once", failed.code, failed.detail)
    return failure(failed.code, failed.detail)


def _finished(ending: Ending) -> Verdict:
    if _paid(ending) and "record" in ending.artifacts:
        return Verdict(Move.SUCCEED)
    return give_back("once", "internal", "The runner ended well but left no result.")


def _crashed(status: int, memory: Memory) -> Verdict:
    if memory.ran_out:  # also where the kernel took a child of the runner, and that ended the runner
        why = f"The host had no memory left, so its kernel ended the run.{memory.told()} {ADVICE}"
        return give_back("once", "host_oom", why)
    if -status == signal.SIGKILL:
        hint = f"The host may have run out of memory.{memory.told()} {ADVICE}"
        return give_back("crashed", "worker_crashed", f"The runner was killed by SIGKILL. {hint}")
    if status < 0:
        return give_back("crashed", "worker_crashed", f"The runner was killed by {_signal(status)}.")
    if status == EXIT_STOPPED:
        return give_back(
            "crashed", "worker_crashed", "The runner stopped without being asked to by its worker."
        )
    return give_back(
        "crashed", "worker_crashed", f"The runner ended with status {status} and gave no reason."
    )


def why_ended(stop: Stop | None, ending: Ending) -> str:
    """Say in a sentence why a child that the run can do without brought nothing; it holds no model."""
    if stop is not None:
        return OURS[stop].message
    if ending.failed is not None:
        return _said(ending.failed).message
    told = ending.memory.told()
    if ending.memory.ran_out:
        return f"The host had no memory left for the process that asks.{told} Give the worker more memory."
    if ending.status >= 0:
        return f"The process that asks ended with status {ending.status} and gave no reason."
    why = f"The process that asks was killed by {_signal(ending.status)}."
    if -ending.status == signal.SIGKILL:
        why += f" The host may have run out of memory.{told} Give the worker more memory."
    return why


def _signal(status: int) -> str:
    return signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)


def bent(judged: Verdict, intent: Intent) -> Verdict:
    """Hold a verdict against what the user wants by now: an answered cancel never becomes a success."""
    match judged.move, intent:
        case Move.LEAVE | Move.FAIL, _:
            return judged
        case _, Intent.CANCEL:
            return Verdict(Move.CANCEL)
        case _, Intent.PAUSE:
            return Verdict(Move.PAUSE)
        case Move.PAUSE | Move.CANCEL, Intent.RUN:  # resumed before the runner had stopped
            return give_back("drained", "preempted", "The run was stopped and is wanted again.")
    return judged
