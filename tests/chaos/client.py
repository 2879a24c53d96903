"""A client that writes down what it asked and what it was told: ok, refused, or nobody knows."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx

Outcome = Literal["ok", "refused", "unknown"]
MOVES = ("cancel", "pause", "resume")


@dataclass(frozen=True, slots=True)
class Entry:
    """One request."""

    what: str  # submit, cancel, pause, resume
    key: str  # of a submit, or the job's id
    outcome: Outcome
    job: str | None = None
    status: int | None = None


class Client:
    """Speaks HTTP to an api that may be gone at any moment."""

    def __init__(self, url: str, key: str, history: Path) -> None:
        self.entries: list[Entry] = []
        self.open: dict[str, dict[str, object]] = {}  # submits that were not answered yet, by their key
        self._http = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=10, trust_env=False
        )
        self._history = history.open("w")

    def jobs(self) -> list[str]:
        """List the jobs that were answered for."""
        return [entry.job for entry in self.entries if entry.what == "submit" and entry.job]

    def heard(self, what: str) -> bool:
        """Tell whether something was asked for and granted."""
        return any(entry.what == what and entry.outcome == "ok" for entry in self.entries)

    def submit(self, key: str, body: dict[str, object]) -> None:
        """Ask for a job; unanswered, it is asked for again later, under the same key."""
        self.open[key] = body
        answer = self._ask("/jobs", json=body, headers={"idempotency-key": key})
        if answer is None or answer.status_code >= 500:
            self._note(Entry("submit", key, "unknown", status=None if answer is None else answer.status_code))
        elif answer.status_code in (200, 201):
            del self.open[key]
            self._note(Entry("submit", key, "ok", answer.json()["id"], answer.status_code))
        else:
            raise AssertionError(f"a sound job was refused: {answer.status_code} {answer.text}")

    def again(self) -> None:
        """Ask once more for what was not answered, until one is not answered again.

        Whoever does not answer lets each wait for the timeout; all of them in a row would outlast the storm.
        """
        for key, body in list(self.open.items()):
            self.submit(key, body)
            if key in self.open:
                return

    def move(self, what: str, job: str) -> None:
        """Ask for a cancel, a pause or a resume."""
        answer = self._ask(f"/jobs/{job}/{what}")
        status = None if answer is None else answer.status_code
        outcome: Outcome = {202: "ok", 409: "refused"}.get(status, "unknown")
        assert status is None or status in (202, 409, 503), (what, status)
        self._note(Entry(what, job, outcome, job, status))

    def close(self) -> None:
        """End the history."""
        self._http.close()
        self._history.close()

    def _ask(self, path: str, **more: object) -> httpx.Response | None:
        try:
            return self._http.post(path, **more)
        except httpx.HTTPError:
            return None

    def _note(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._history.write(json.dumps(asdict(entry)) + "\n")
        self._history.flush()


def broken_promises(entries: list[Entry], jobs: dict[str, str], by_key: dict[str, str]) -> list[str]:
    """Hold what a client was told against what is there: ``jobs`` by status, ``by_key`` the jobs by key."""
    wrong = []
    for entry in entries:
        if entry.what == "submit" and entry.outcome == "ok":
            if entry.job not in jobs:
                wrong.append(f"{entry.job} was answered and is lost")
            if by_key.get(entry.key) != entry.job:
                wrong.append(f"key {entry.key} made {by_key.get(entry.key)}, the answer was {entry.job}")
        if entry.what == "cancel" and entry.outcome == "ok" and jobs.get(entry.job or "") != "cancelled":
            wrong.append(f"the cancel of {entry.job} was answered and it is {jobs.get(entry.job or '')}")
    answered: dict[str, set[str | None]] = {}
    for entry in entries:
        if entry.what == "submit" and entry.job:
            answered.setdefault(entry.key, set()).add(entry.job)
    wrong += [
        f"key {key} was answered with {len(made)} jobs" for key, made in answered.items() if len(made) > 1
    ]
    return wrong
