"""What a run's end means for its job."""

import signal
from dataclasses import replace

import pytest

from neftune_core.messages import Failed
from neftune_store.lifecycle import Intent
from worker.memory import Memory
from worker.stop import Stop
from worker.verdict import Ending, Move, Verdict, bent, verdict, why_ended

WHOLE = {"adapter": "adapter", "record": "record.json"}


def ended(status: int = 0, failed: Failed | None = None, artifacts: dict[str, str] | None = None) -> Ending:
    return Ending(status, failed, WHOLE if artifacts is None else artifacts, ("adapter",))


def test_a_good_end_with_its_result_is_a_success() -> None:
    assert verdict(None, ended()).move is Move.SUCCEED


@pytest.mark.parametrize(
    "artifacts", [{}, {"adapter": "adapter"}, {"record": "record.json"}, {"model": "model"}]
)
def test_a_good_end_without_the_result_it_owes_is_a_bug(artifacts: dict[str, str]) -> None:
    judged = verdict(None, ended(artifacts=artifacts))
    assert (judged.move, judged.reason, judged.code) == (Move.GIVE_BACK, "once", "internal")


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGSEGV, 1, 3, 75, 76])
def test_an_end_without_a_reason_is_a_crash(status: int) -> None:
    judged = verdict(None, ended(status))
    assert (judged.move, judged.reason, judged.code) == (Move.GIVE_BACK, "crashed", "worker_crashed")


def test_a_kill_hints_at_the_memory() -> None:
    assert "memory" in verdict(None, ended(-signal.SIGKILL)).message


@pytest.mark.parametrize("status", [-signal.SIGKILL, 1])
def test_a_kill_for_want_of_memory_is_named_with_its_peak_and_tried_a_second_time_only(status: int) -> None:
    ending = Ending(status, None, {}, ("adapter",), Memory(3 << 30, True, 4 << 30))
    judged = verdict(None, ending)
    assert (judged.move, judged.reason, judged.code) == (Move.GIVE_BACK, "once", "host_oom")
    assert "3.0 GiB of 4.0 GiB" in judged.message
    assert "batch_size" in judged.message
    # Whoever says more than the kernel is believed, and so is a good end
    told = Ending(1, Failed("nan_loss", "x"), {}, ("adapter",), Memory(ran_out=True))
    assert verdict(None, told).code == "nan_loss"
    assert verdict(None, Ending(0, None, WHOLE, ("adapter",), Memory(ran_out=True))).move is Move.SUCCEED


def test_a_reason_of_the_runner_is_kept() -> None:
    judged = verdict(None, ended(1, Failed("nan_loss", "Step 3 was not finite.")))
    assert judged == Verdict(Move.FAIL, code="nan_loss", message="Step 3 was not finite.")


def test_a_reason_counts_even_when_the_exit_status_is_good() -> None:
    assert verdict(None, ended(0, Failed("nan_loss", "x"))).move is Move.FAIL


def test_a_retryable_reason_goes_back_to_the_queue() -> None:
    judged = verdict(None, ended(1, Failed("worker_lost", "x", retryable=True)))
    assert (judged.move, judged.reason, judged.code) == (Move.GIVE_BACK, "infra", "worker_lost")


@pytest.mark.parametrize(
    ("stop", "move", "code"),
    [
        (Stop.LOST, Move.LEAVE, ""),
        (Stop.LEASE, Move.GIVE_BACK, "database_unavailable"),
        (Stop.CANCEL, Move.CANCEL, ""),
        (Stop.PAUSE, Move.PAUSE, ""),
        (Stop.STALLED, Move.GIVE_BACK, "stalled"),
        (Stop.TIME_LIMIT, Move.FAIL, "time_limit"),
        (Stop.PROTOCOL, Move.GIVE_BACK, "internal"),
        (Stop.BROKEN, Move.GIVE_BACK, "internal"),
    ],
)
def test_our_own_reason_counts_more_than_the_runners_end(stop: Stop, move: Move, code: str) -> None:
    for ending in (ended(75), ended(-signal.SIGKILL), ended(0)):
        judged = verdict(stop, ending)
        assert (judged.move, judged.code) == (move, code)


def test_a_drained_run_goes_back_and_a_finished_one_does_not() -> None:
    assert verdict(Stop.DRAIN, ended(75)).reason == "drained"
    assert verdict(Stop.DRAIN, ended(-signal.SIGKILL)).reason == "drained"
    assert verdict(Stop.DRAIN, ended(0)).move is Move.SUCCEED


def test_why_a_child_without_a_model_has_ended_is_told_without_advice_for_training() -> None:
    killed, memory = ended(-signal.SIGKILL), Memory(3 << 30, True, 4 << 30)
    told = [
        why_ended(None, ending)
        for ending in (killed, ended(-signal.SIGSEGV), ended(3), replace(ended(1), memory=memory))
    ]
    assert told[0].startswith("The process that asks was killed by SIGKILL. The host may")
    assert told[1] == "The process that asks was killed by SIGSEGV."
    assert told[2] == "The process that asks ended with status 3 and gave no reason."
    assert "3.0 GiB of 4.0 GiB" in told[3]
    assert all("batch_size" not in why for why in told)
    assert why_ended(None, ended(1, Failed("x", "Why."))) == "Why."
    assert why_ended(Stop.STALLED, killed) == "The runner was silent for too long."


def test_what_the_user_wants_by_now_bends_the_verdict() -> None:
    success, crash = verdict(None, ended()), verdict(None, ended(-9))
    failure = verdict(None, ended(1, Failed("nan_loss", "x")))
    assert bent(success, Intent.RUN) == success
    assert bent(success, Intent.CANCEL).move is bent(crash, Intent.CANCEL).move is Move.CANCEL
    assert bent(success, Intent.PAUSE).move is bent(crash, Intent.PAUSE).move is Move.PAUSE
    assert bent(failure, Intent.CANCEL) == failure
    assert bent(verdict(Stop.LOST, ended()), Intent.CANCEL).move is Move.LEAVE
    assert bent(verdict(Stop.PAUSE, ended(75)), Intent.RUN).reason == "drained"
