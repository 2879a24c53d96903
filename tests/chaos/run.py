"""One storm from its seed to its verdict."""

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from neftune_store.blobs import Blobs
from neftune_store.collection import collect
from tests import invariants
from tests.chaos.client import Client, broken_promises
from tests.chaos.plan import FAULTS, KILLS, Act, plan
from tests.chaos.storm import Storm
from tests.worker_house import MODEL, ROWS, House

HEAL_SECONDS = 120.0
LATE_SECONDS = 90.0
RECENT = 8  # of these a user cancels, pauses and resumes: older ones have mostly ended
TOY = "steps=30 sleep=0.03 ckpt=5"
LAST_STEP = 30


@dataclass
class Verdict:
    """What a storm did, and what it could not break."""

    seed: int
    seconds: float = 0.0
    jobs: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    given_up: int = 0  # failed after three losses in a row, as it is promised
    kills: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    went_on: int = 0  # runs that went on from a checkpoint
    healed_after: float = 0.0
    collected: int = 0
    wrong: list[str] = field(default_factory=list)

    def told(self) -> str:
        """Give it as one JSON line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Asked:
    """What kind of storm."""

    seed: int
    seconds: float
    jobs: int
    force: float = 1.0
    body: dict[str, Any] | None = None  # of a real job; a toy's where there is none


def weather(storm: Storm, asked: Asked) -> Verdict:
    """Let it blow for so long, heal, and look at everything."""
    verdict = Verdict(asked.seed)
    datasets = [storm.house.dataset(ROWS + row).id for row in _MORE_ROWS]
    client = Client(storm.url, storm.api_key, storm.house.root / "history.jsonl")
    blow = Blow(storm, client, datasets, asked.body or _toy_job())
    if asked.body is not None:
        blow.calmly()
    began = time.monotonic()
    blow.all(plan(asked.seed, asked.seconds, asked.jobs, asked.force))
    verdict.seconds = time.monotonic() - began
    verdict.healed_after = _heal(storm, client)
    client.close()
    _look(storm, client, verdict, toy=asked.body is None)
    return verdict


_MORE_ROWS = (b'{"instruction":"a","output":"1"}\n', b'{"instruction":"b","output":"2"}\n')


def _toy_job() -> dict[str, Any]:
    return {"model": MODEL, "metadata": {"toy": TOY}}


class Blow:
    """Does what the plan says, when it says so."""

    def __init__(self, storm: Storm, client: Client, datasets: list[str], body: dict[str, Any]) -> None:
        self._storm, self._client = storm, client
        self._datasets, self._body = datasets, body
        self._submitted = 0

    def calmly(self) -> None:
        """Let one job on each dataset run undisturbed: what others end with is held against it."""
        for _ in self._datasets:
            self._submit()
        end = time.monotonic() + HEAL_SECONDS
        while (self._client.open or _open_jobs(self._storm.house)) and time.monotonic() < end:
            self._client.again()
            self._beat()

    def all(self, acts: list[Act]) -> None:
        """Do them all; what found nothing to hurt, or no answer, is tried again at the end."""
        waiting = list(acts)
        began = time.monotonic()
        while waiting:
            self._beat()
            while waiting and waiting[0].at <= time.monotonic() - began:
                self._storm.tend()  # a late storm still wakes and mends in time
                self._do(waiting.pop(0))
        late = time.monotonic() + LATE_SECONDS
        while self._storm.missed and time.monotonic() < late:
            self._beat()
            if not _open_jobs(self._storm.house):
                self._submit()
            missed, self._storm.missed = self._storm.missed, []
            for act in missed:
                self._storm.hurt(act)
        for move in ("cancel", "pause"):  # a short storm may have taken all answers with it
            while not self._client.heard(move) and time.monotonic() < late:
                self._beat()
                self._submit()
                self._client.move(move, self._client.jobs()[-1])

    def _beat(self) -> None:
        self._storm.tend()
        _unrest(self._storm.house)
        time.sleep(0.05)

    def _do(self, act: Act) -> None:
        if act.kind in FAULTS:
            self._storm.hurt(act)
        elif act.kind == "submit":
            self._submit()
        elif jobs := self._client.jobs()[-RECENT:]:
            self._client.move(act.kind, jobs[int(act.draw * len(jobs))])

    def _submit(self) -> None:
        self._client.again()
        self._submitted += 1
        dataset = self._datasets[self._submitted % len(self._datasets)]
        self._client.submit(f"key-{self._submitted}", {**self._body, "dataset": dataset})


def _unrest(house: House) -> None:
    """Let nobody rest after its second loss in a row: a storm is short."""
    try:
        with house.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET run_after = NULL WHERE run_after IS NOT NULL"))
    except Exception:
        pass


def _heal(storm: Storm, client: Client) -> float:
    """Let everything come to rest; tell how long that took."""
    storm.calm()
    began = time.monotonic()
    while time.monotonic() - began < HEAL_SECONDS:
        storm.tend()
        client.again()
        _unrest(storm.house)
        left = _open_jobs(storm.house)
        if not client.open and not left:
            break
        for job in (job for job, status in left.items() if status == "paused"):
            client.move("resume", job)
        time.sleep(0.3)
    return time.monotonic() - began


def _open_jobs(house: House) -> dict[str, str]:
    """Give the jobs that have not ended; while the database is away there is one nobody knows."""
    open_ = text("SELECT id, status FROM jobs WHERE status IN ('queued', 'running', 'paused')")
    try:
        with house.engine.connect() as connection:
            return {row.id: row.status for row in connection.execute(open_)}
    except OperationalError:
        return {"unknown": "unknown"}


def _look(storm: Storm, client: Client, verdict: Verdict, *, toy: bool) -> None:
    """Read everything and hold it against the promises."""
    house = storm.house
    house.close()  # nobody writes any more
    blobs = Blobs.open(house.settings())
    for _ in range(2):
        verdict.collected += collect(house.engine, blobs, grace=timedelta(0)).removed
    try:
        invariants.check(house.engine, blobs, orphans=True, at_rest=True)
    except AssertionError as fault:
        verdict.wrong += str(fault).splitlines()
    seen = invariants.Seen.read(house.engine)
    statuses = {id_: job.status for id_, job in seen.jobs.items()}
    by_key = {row.key: row.job_id for row in seen.keys}
    verdict.wrong += broken_promises(client.entries, statuses, by_key)
    verdict.wrong += _unexpected_failures(seen, verdict)
    verdict.wrong += _wrong_results(seen) if toy else _unequal_results(seen)
    verdict.jobs = len(seen.jobs)
    verdict.ended = dict(Counter(statuses.values()))
    verdict.faults = dict(storm.done)
    verdict.kills = sum(storm.done[kind] for kind in KILLS)
    verdict.asked = dict(Counter(f"{entry.what} {entry.outcome}" for entry in client.entries))
    verdict.attempts = sum(job.attempt for job in seen.jobs.values())
    verdict.went_on = sum(row.name == "run.resumed" for events in seen.events.values() for row in events)


def _unexpected_failures(seen: invariants.Seen, verdict: Verdict) -> list[str]:
    failed = [job for job in seen.jobs.values() if job.status == "failed"]
    given_up = [job for job in failed if job.error_code == "worker_crashed"]
    verdict.given_up = len(given_up)
    return [f"{job.id} failed as {job.error_code}" for job in failed if job not in given_up]


def _wrong_results(seen: invariants.Seen) -> list[str]:
    """A toy's numbers are a function of the step, and its weights one of the rows."""
    wrong = []
    for id_, rows in seen.metrics.items():
        wrong += [
            f"{id_}: step {row.step} has other numbers"
            for row in rows
            if row.numbers["train_loss"] != 2.0 / (row.step + 1)
        ]
    expected = hashlib.sha256(b"toy weights of " + ROWS[:64]).hexdigest()
    for id_, job in seen.jobs.items():
        if job.status != "succeeded":
            continue
        found = {artifact.name: artifact.sha256 for artifact in seen.artifacts[id_]}
        if found.get("adapter/adapter_model.safetensors") != expected:
            wrong.append(f"{id_}: its adapter has other bytes")
        if len(seen.metrics[id_]) != LAST_STEP + 1:
            wrong.append(f"{id_}: {len(seen.metrics[id_])} steps")
    return wrong


def _unequal_results(seen: invariants.Seen) -> list[str]:
    """What was trained equals in every byte and number what was trained undisturbed, first of its kind."""
    wrong, first = [], {}
    for id_, job in seen.jobs.items():
        if job.status != "succeeded":
            continue
        adapter = next(row.sha256 for row in seen.artifacts[id_] if row.name == "adapter")
        curve = [
            {name: value for name, value in row.numbers.items() if name != "tokens_per_s"}
            for row in seen.metrics[id_]
        ]
        calm = first.setdefault(job.spec_sha256, (id_, adapter, curve))
        if adapter != calm[1]:
            wrong.append(f"{id_}: its adapter has other bytes than {calm[0]}'s")
        if curve != calm[2]:
            wrong.append(f"{id_}: its curve is another than {calm[0]}'s")
    return wrong
