"""Any bytes on any route give a 2xx or a useful 4xx, quickly, and leave nothing behind in memory.

A case that fails is printed as the expression that makes it: it goes to :mod:`tests.api.fuzz_corpus`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.api.fuzz_bodies import MARK, MARKED_KEY
from tests.api.fuzz_cases import Cases, targets
from tests.api.fuzz_corpus import CORPUS
from tests.api.fuzz_ground import Ground
from tests.api.fuzz_wire import Answer, Case, ask
from tests.api.live_api import BRIEF, Service, make_settings, running

SEED = "first"
CASES, MANY = 2_500, 10_000
AT_ONCE = 250  # cases on one ground: some of them delete what it holds
CODES = frozenset(
    re.findall(r"\n### `([a-z_]+)`\n", (Path(__file__).parents[2] / "docs/errors.md").read_text())
)
# Told by nobody but a database or a store that is away; here both are there.
OURS_TO_BLAME = {
    "internal",
    "database_unavailable",
    "storage_unavailable",
    "unavailable",
    "broker_unavailable",
}


@pytest.fixture(scope="module")
def fuzzed(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An api of its own: streams end at once, and uploads are small."""
    with running(make_settings(api_database, tmp_path_factory.mktemp("fuzz"), **BRIEF)) as found:
        yield found


def on_its_loop(service: Service, work: Any) -> Any:
    """Run a coroutine where the app lives."""
    loop = service.server.servers[0].get_loop()
    running_there: Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
    return running_there.result(200)


def fault(answer: Answer, documented: set[str] | None) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer.status < 400:
        return None
    told = answer.told()
    if not isinstance(told, dict):
        return None if answer.status < 500 and not answer.body else "no JSON"
    code = told["error"]["code"] if "error" in told else told.get("code")
    wears = "application/json" if "error" in told else "application/problem+json"
    held = answer.body.lower()
    wrong = {
        "a code that is not explained": code not in CODES,
        "the media type": answer.headers.get("content-type") != wears,
        "the status in the body": "error" not in told and told.get("status") != answer.status,
        "the input is echoed": MARK in held or MARKED_KEY.encode() in held,
        "a fault of ours": answer.status >= 500 and code in OURS_TO_BLAME,
        "a status that is not documented": documented is not None and str(answer.status) not in documented,
    }
    found = [what for what, so in wrong.items() if so]
    return ", ".join(found) or None


def slow(answer: Answer) -> bool:
    """A second of this process, or five of a machine that does other things too."""
    return answer.cpu_seconds > 1 or answer.seconds > 5


class Fuzzer:
    """Asks, judges, and learns what later cases can name."""

    def __init__(self, service: Service) -> None:
        self.app: Any = service.server.config.app
        self._documented = {
            (target.method, target.path): set(target.operation["responses"])
            for target in targets(self.app)
            if target.operation
        }
        self.seen: Counter[tuple[str | None, int]] = Counter()
        self.wrong: list[str] = []

    async def look(self, case: Case, ground: Ground) -> None:
        """Send one case and note what is wrong with its answer."""
        sent = ground.asked_by_its_asker(case)
        try:
            answer = await ask(self.app, sent)
            for _ in range(2):  # a busy machine is slow now and then, a slow answer always
                if slow(answer):
                    answer = await ask(self.app, sent)
        except (Exception, TimeoutError) as error:
            self.wrong.append(f"{error!r}\n    {case!r}")
            return
        documented = self._documented.get((case.method, answer.route or ""))
        found = fault(answer, documented) or ("slow" if slow(answer) else None)
        self.seen[answer.route, answer.status] += 1
        if found:
            self.wrong.append(f"{found}\n    {answer.status} {answer.body[:300]!r}\n    {case!r}"[:4000])
        elif answer.status < 300 and answer.route:
            ground.learn(answer.route, answer)

    async def one(self, case: Case, ground: Ground) -> Answer:
        """Send one case and give its answer, unless something is wrong with it."""
        await self.look(case, ground)
        return await ask(self.app, case.filled(ground.ids))

    async def batch(self, cases: list[Case], ground: Ground) -> None:
        """Send some, one after the other."""
        await ground.look_around()
        for case in cases:
            await self.look(case, ground)


@pytest.mark.parametrize("count", [CASES, pytest.param(MANY, marks=pytest.mark.long)])
def test_any_bytes_on_any_route_get_a_useful_answer(fuzzed: Service, count: int) -> None:
    # Given cases on every route that the app has
    fuzzer, cases = Fuzzer(fuzzed), Cases(fuzzed.server.config.app, SEED)  # type: ignore[arg-type]  # ours
    held, warm = 0, count // 5

    # When they are sent, two projects having something of each kind
    for begin in range(0, count, AT_ONCE):
        ground = Ground(fuzzed, ended=begin // AT_ONCE % 2 == 0, operator=begin // AT_ONCE % 4 == 3)
        some = [cases.number(number) for number in range(begin, begin + AT_ONCE)]
        on_its_loop(fuzzed, fuzzer.batch(some, ground))
        held = psutil.Process().memory_info().rss if begin + AT_ONCE == warm else held
        if fuzzer.wrong:
            pytest.fail("\n\n".join(fuzzer.wrong[:20]), pytrace=False)
    grown = psutil.Process().memory_info().rss - held

    # Then nothing is wrong with any answer, each route was got past its door, and memory is as it was
    assert {route for route, _ in fuzzer.seen} >= {
        target.path for target in targets(fuzzer.app) if target.operation
    }
    assert sum(count for (_, status), count in fuzzer.seen.items() if status < 300) > count // 10
    assert grown < 20_000_000, f"{grown / 1e6:.1f} MB"


@pytest.fixture(scope="module")
def ground(fuzzed: Service) -> Ground:
    """What the corpus names."""
    return Ground(fuzzed, ended=True)


@pytest.mark.parametrize("name", CORPUS)
def test_what_once_broke_something_is_answered(fuzzed: Service, ground: Ground, name: str) -> None:
    case, expected = CORPUS[name]
    fuzzer = Fuzzer(fuzzed)
    answer = on_its_loop(fuzzed, fuzzer.one(case, ground))
    assert not fuzzer.wrong, fuzzer.wrong[0]
    assert answer.status in expected, answer.body[:300]
