"""What a runner prints on its way to who follows: in order, bounded, and never in the runner's way."""

import threading

from sqlalchemy import text

from neftune_store.errors import DatabaseUnavailable, LeaseLost
from neftune_store.live_logs import KEPT_PARTS, PART_CHARACTERS
from tests.worker_house import QUICK, House, kill, until
from worker.live_log import WAITING_BYTES, LiveLog

SECRET = "hf_" + "a1B2" * 8


class Table:
    """Where parts go; ``broken`` times it is away."""

    def __init__(self, fault: Exception | None = None, broken: int = 0) -> None:
        self.parts: dict[int, str] = {}
        self.fault, self.broken = fault, broken

    def write(self, number: int, said: str) -> None:
        if self.fault is not None and self.broken:
            self.broken -= 1
            raise self.fault
        assert number == len(self.parts) + 1
        self.parts[number] = said

    @property
    def text(self) -> str:
        return "".join(self.parts.values())


def shipped(live: LiveLog) -> bool:
    live.last_call()
    return live.done(10)


def test_whole_lines_go_out_as_they_come_and_the_rest_at_the_end() -> None:
    table = Table()
    live = LiveLog(table.write)
    live.say(b"one\ntw")
    until(lambda: table.text == "one\n" or None)
    live.say(b"o\nthr\xc3")
    until(lambda: table.text == "one\ntwo\n" or None)
    live.say(b"\xa9e")
    assert shipped(live)
    assert table.text == "one\ntwo\nthr\u00e9e"


def test_a_secret_is_masked_also_when_it_comes_in_two_blocks() -> None:
    table = Table()
    live = LiveLog(table.write)
    live.say(f"token {SECRET[:12]}".encode())
    live.say(f"{SECRET[12:]} taken\n".encode())
    assert shipped(live)
    assert table.text == "token [secret] taken\n"


def test_a_database_that_is_away_delays_and_nothing_is_lost() -> None:
    table = Table(DatabaseUnavailable(), broken=2)
    live = LiveLog(table.write)
    live.say(b"line\n")
    assert shipped(live)
    assert table.parts == {1: "line\n"}


def test_a_lost_lease_or_a_fault_ends_it_quietly() -> None:
    for fault in (LeaseLost(), RuntimeError("x")):
        live = LiveLog(Table(fault, broken=99).write)
        live.say(b"line\n")
        assert live.done(10)
        live.say(b"x" * 10 * WAITING_BYTES)  # who prints on is not held up


def test_of_too_much_the_newest_is_shown_and_the_rest_counted() -> None:
    table, held = Table(), threading.Event()

    def slow(number: int, said: str) -> None:
        held.wait(10)
        table.write(number, said)

    live = LiveLog(slow)
    live.say(b"first\n")
    until(lambda: not live._waiting or None)  # on its way, and held up
    flood = b"".join(b"%07d\n" % number for number in range(40_000))
    live.say(flood)
    held.set()
    assert shipped(live)
    assert table.text.startswith("first\n")
    assert f"[{len(flood) - WAITING_BYTES} bytes came too fast" in table.text
    assert table.text.endswith("0039999\n")
    assert max(map(len, table.parts.values())) <= PART_CHARACTERS


def parts(house: House, job: str) -> list[tuple[int, str]]:
    with house.engine.connect() as line:
        found = line.execute(
            text("SELECT fence, said FROM log_parts WHERE job_id = :job ORDER BY fence, number"), {"job": job}
        )
        return [(row.fence, row.said) for row in found]


def test_a_run_shows_what_it_prints_while_it_goes_on_and_again_after_a_death(house: House) -> None:
    worker = house.start("worker", **QUICK)
    house.start("worker.reconcile")
    job = house.submit("steps=400 sleep=0.02 print=hello")
    until(lambda: parts(house, job.id) == [(1, "hello\n")] or None)
    assert house.job(job).status == "running"
    kill(worker)
    house.start("worker", **QUICK)
    until(lambda: parts(house, job.id) == [(1, "hello\n"), (2, "hello\n")] or None)
    house.cancel(job)
    house.wait(job, "cancelled")


def test_a_flood_costs_the_table_a_mebibyte_and_the_run_nothing(busy_house: House) -> None:
    house = busy_house
    job = house.wait(house.submit("steps=3 log=30"), "succeeded", "failed")
    assert job.status == "succeeded", house.log_tail(job)
    kept = parts(house, job.id)
    assert 0 < sum(len(said) for _, said in kept) <= KEPT_PARTS * PART_CHARACTERS
    assert "came too fast" in "".join(said for _, said in kept)
