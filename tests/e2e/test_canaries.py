"""No secret and nothing of a user's is told where it does not belong, on good ways and on bad ones.

Real processes hold canaries wherever a secret can stand: in the environment, keys, headers, bodies, rows and
addresses. Then everything that was printed, told, answered or written into a column is searched for them.
"""

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import Engine, text

from neftune_store.db import unit_of_work
from neftune_store.projects import ProjectLedger
from neftune_store.sealing import Sealer
from tests.fake_hub import Hub, serving
from tests.worker_house import QUICK, House, house, kill, quiet_redis, until

__all__ = ["house", "quiet_redis"]

# Of the operator: nowhere but in the environment of our own processes.
HELD = {
    "HF_TOKEN": "hf_canary0hub0canary0hub0canary0hub0",
    "AWS_ACCESS_KEY_ID": "AKIACANARY0STORAGE00",
    "AWS_SECRET_ACCESS_KEY": "canary-storage-secret",
    "NEFTUNE_SECRET_KEY": "Y2FuYXJ5LW9mLWFsbC1zZWNyZXRzLTEyMzQ1Njc4OTA=",
    "METRICS_TOKEN": "canary-metrics-token-0123456789",
}
DEAD_DSN, DEAD_REDIS = "canary-dead-database", "canary-dead-redis"
# Of users: what is refused is kept nowhere; what is accepted, in the columns that are made for it.
REFUSED = {
    "wrong key": "canary-wrong-key-0123456789",
    "query": "canary-in-a-query",
    "header": "canary-in-a-header",
    "body": "canary-in-a-body",
    "path": "canary-in-a-path",
    "secret": "hf_canaryInASpecCanaryInASpecCanary0",
    "faulty row": "canary-in-a-faulty-row",
    "value": "canary-in-a-secret-that-is-refused",
    "name": "canary~in~a~name",
    "question": "canary-in-a-question",
    "model": "canary/model",
}
STORED = {"stored": "hf_canaryKeptSealed0123456789abcdef", "replaced": "hf_canaryReplaced0123456789abcdef"}
ACCEPTED = {
    "row": "canary-in-a-row",
    "note": "canary-in-metadata",
    "hook": "canary-in-an-address",
    "repeat": "canary-idempotency-key",
}
KEPT = {
    ("jobs", "spec", "note"),
    ("results", "record", "note"),
    ("webhooks", "url", "hook"),
    ("idempotency_keys", "key", "repeat"),
}


SPEAKER = [sys.executable, str(Path(__file__).parents[1] / "toy_speaker.py")]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that fails every download."""
    with serving(Hub({"config.json": b"{}"}, status=500)) as found:
        yield found


@pytest.fixture
def api_of(house: House) -> Iterator[Callable[..., httpx.Client]]:
    """Starts an api on a free port; gives a client without a key."""
    with contextlib.ExitStack() as open_clients:

        def started(**environ: str) -> httpx.Client:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            house.start("api", PORT=str(port), **environ)
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
            open_clients.enter_context(client)
            until(lambda: _alive(client), 30)
            return client

        yield started


def _alive(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    return False


def key_of(house: House) -> str:
    with unit_of_work(house.engine) as session:
        ledger = ProjectLedger(session)
        return ledger.create_key(ledger.ensure_default().id, "canary", ("read", "write", "admin"))[1]


def asked_badly(client: httpx.Client, key: str) -> list[httpx.Response]:
    """Everything that is refused, with canaries in it."""
    good = {"Authorization": f"Bearer {key}"}
    spec = {"model": "toy/base", "dataset": "ds_x", REFUSED["body"]: 1, "name": REFUSED["body"] + "\n"}
    faulty = f'{{"instruction": "{REFUSED["faulty row"]}", "output": 5}}\n'.encode()
    odd = {"User-Agent": REFUSED["header"] + "\x1b[31m", "Cookie": f"session={REFUSED['header']}"}
    return [
        client.get("/jobs", headers={"Authorization": f"Bearer {REFUSED['wrong key']}"}),
        client.get("/jobs", params={"key": key, "tag": REFUSED["query"] + "\n"}),
        client.get(f"/jobs/{REFUSED['path']}", headers=good),
        client.get(f"/jobs?cursor={REFUSED['query']}", headers=good),
        client.get("/jobs?limit=0", headers={**good, **odd, "X-Request-Id": f"<{REFUSED['header']}>"}),
        client.post("/jobs", headers=good, json=spec),
        client.post("/jobs", headers=good, json={"model": "toy/base", "metadata": {"t": REFUSED["secret"]}}),
        client.post("/jobs", headers=good, content=f'{{"{REFUSED["body"]}": NaN}}'.encode()),
        client.post("/jobs", headers={**good, "Idempotency-Key": REFUSED["header"] + " x"}, json={}),
        client.post("/datasets", headers=good, content=faulty),
        client.post("/webhooks", headers=good, json={"url": f"http://a:b@h/{REFUSED['body']}"}),
        client.post("/v1/fine_tuning/jobs", headers=good, json={"model": REFUSED["body"]}),
        client.request("ZZZ", f"/{REFUSED['path']}", headers=good),
        *secrets_and_questions_asked_badly(client, good),
    ]


def secrets_and_questions_asked_badly(client: httpx.Client, good: dict[str, str]) -> list[httpx.Response]:
    """Secrets under odd names and with odd values; models that are not there, that refuse and that die."""
    value, name, question = REFUSED["value"], REFUSED["name"], REFUSED["question"]
    secrets = (("hub", f"{value}\n"), (name, value))
    asked = (
        (REFUSED["model"], question),
        ("toy/base", f"refuse {question}"),
        ("toy/base", f"die {question}"),
    )
    return [
        *(client.put(f"/secrets/{odd}", headers=good, json={"value": told}) for odd, told in secrets),
        *(client.post("/generate", headers=good, json={"model": m, "prompt": said}) for m, said in asked),
    ]


def lived_through(house: House, client: httpx.Client, key: str) -> list[str]:
    """A job that ends well, one that fails, one whose runner is killed, one whose model does not come."""
    good = {"Authorization": f"Bearer {key}"}
    rows = b"".join(
        b'{"instruction": "%d", "output": "%s"}\n' % (n, ACCEPTED["row"].encode()) for n in range(12)
    )
    dataset = client.post("/datasets", headers=good, content=rows).json()["id"]
    client.post("/webhooks", headers=good, json={"url": f"http://127.0.0.1:1/{ACCEPTED['hook']}"})

    for value in (STORED["replaced"], STORED["stored"]):
        assert client.put("/secrets/hub", headers=good, json={"value": value}).is_success

    def submitted(toy: str, model: str = "toy/base", token: str | None = None, **headers: str) -> str:
        metadata = {"toy": toy, "note": ACCEPTED["note"]}
        spec = {"model": model, "dataset": dataset, "metadata": metadata}
        spec |= {"hub_token": {"secret": token}} if token else {}
        made = client.post("/jobs", headers={**good, **headers}, json=spec)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def ended(job: str) -> bool:
        return client.get(f"/jobs/{job}", headers=good).json()["status"] in {"succeeded", "failed"}

    well = submitted("steps=3", **{"Idempotency-Key": ACCEPTED["repeat"]})
    until(lambda: ended(well), 40)
    slow = submitted("steps=200 sleep=0.05")
    seen = Path(f"/proc/{house.runner(house.processes[0]).pid}/environ").read_text()
    kill(house.runner(house.processes[0]))
    until(lambda: "run.lost" in client.get(f"/jobs/{slow}/events", headers=good).text, 20)
    client.post(f"/jobs/{slow}/cancel", headers=good)
    fails, fetched = submitted("steps=5 fail=2"), submitted("steps=1", "org/name", token="hub")
    until(lambda: ended(fails), 40)
    until(lambda: "model" in client.get(f"/jobs/{fetched}/events", headers=good).text, 40)
    shown = [client.get(f"/jobs/{job}/{what}", headers=good).text
             for job in (well, slow, fails, fetched) for what in ("events", "log")]  # fmt: skip
    return [seen, *shown, *said_by_the_child(client, good), client.get("/secrets", headers=good).text]


def said_by_the_child(client: httpx.Client, good: dict[str, str]) -> list[str]:
    """What the process that holds a model can see, asked on each surface, and who it is said to be."""
    prompt = f"environ {REFUSED['question']}"
    native = {"model": "toy/base", "prompt": prompt}
    chat = {"model": "toy/base", "messages": [{"role": "user", "content": prompt}]}
    asked = [("/generate", native), ("/v1/completions", native), ("/v1/chat/completions", chat)]
    answers = [client.post(path, headers=good, json={**body, "stream": stream})
               for path, body in asked for stream in (False, True)]  # fmt: skip
    assert all("PATH" in one.text for one in answers), [one.text for one in answers]
    return [*(one.text for one in answers), client.get("/workers", headers=good).text]


def in_columns(engine: Engine, canaries: dict[str, str]) -> set[tuple[str, str, str]]:
    """Every column of every table that holds a canary, with its name; of bytes, as they are and as text."""
    columns = text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    found = set()
    with engine.connect() as line:
        for table, column in line.execute(columns).all():
            for name, value in canaries.items():
                holds = text(
                    f'SELECT 1 FROM "{table}" WHERE position(:v IN "{column}"::text) > 0'
                    f' OR position(:hex IN "{column}"::text) > 0 LIMIT 1'
                )
                if line.execute(holds, {"v": value, "hex": value.encode().hex()}).first():
                    found.add((table, column, name))
    return found


def test_no_canary_is_found_where_it_does_not_belong(
    house: House, hub: Hub, api_of: Callable[..., httpx.Client]
) -> None:
    # Given a service whose every secret is a canary, one without its stores, and one without its database
    cache = str(house.root / "cache")
    house.environ |= {**HELD, "HUB": "on", "HF_ENDPOINT": hub.url, "MODEL_CACHE": cache}
    house.environ |= {"ALLOWED_MODELS": "toy/*,org/*", "WEBHOOK_ALLOW": "127.0.0.1"}
    house.start("worker", **QUICK)
    house.start("worker.reconcile")
    house.start("worker.generate", GENERATOR=json.dumps(SPEAKER), GENERATE_DEVICE="cpu")
    well, key = api_of(), key_of(house)
    dead = {"REDIS_URL": f"redis://:{DEAD_REDIS}@127.0.0.1:1/0", "S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    ill = api_of(STORAGE_URL="s3://bucket", **dead)
    lost = api_of(DATABASE_URL=f"postgresql://somebody:{DEAD_DSN}@127.0.0.1:1/nowhere")
    house.start("worker.reconcile", DATABASE_URL=f"postgresql://somebody:{DEAD_DSN}@127.0.0.1:1/nowhere")
    wrong = {**dead, "DATABASE_URL": f"mysql://somebody:{DEAD_DSN}@h/d", "LEASE_SECONDS": "-1"}
    assert house.start("api", **wrong).wait(20) != 0

    # When it is asked badly, works, fails, crashes, and loses what it needs
    answers = [*asked_badly(well, key), *asked_badly(ill, key), *asked_badly(lost, key)]
    answers += [one.get("/readyz") for one in (well, ill, lost)]
    answers.append(
        ill.post("/datasets", headers={"Authorization": f"Bearer {key}"}, content=b'{"text": "a"}')
    )
    shown = lived_through(house, well, key)
    with house.engine.begin() as line:  # every process loses its connections, and says so
        line.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                          "current_database() AND pid <> pg_backend_pid()"))  # fmt: skip
    answers.append(well.get("/jobs", headers={"Authorization": f"Bearer {key}"}))
    assert {401, 404, 422, 503} <= {answer.status_code for answer in answers}
    assert [one for one in answers if one.status_code == 500] == []

    # Then no canary stands in what was printed, answered or shown, and in a column only where it is meant to
    password = house.engine.url.password or ""
    secrets = {**HELD, "key": key, "dsn": password, "dead dsn": DEAD_DSN, "dead redis": DEAD_REDIS}
    with house.engine.connect() as line:  # by which the api is let in to who answers
        one = line.execute(text("SELECT id, token FROM workers WHERE kind = 'generate'")).one()
    sealer = Sealer.of(HELD["NEFTUNE_SECRET_KEY"])
    secrets["generation"] = sealer.open_text(one.token, "workers", one.id, "token")
    assert secrets["generation"] != one.token
    everything = {**secrets, **REFUSED, **ACCEPTED, **STORED}
    told = {
        "logs": house.logs(),
        "refusals": "\n".join(one.text for one in answers if one.is_error),
        "shown": "\n".join(shown),
    }
    spoken = {
        (where, name) for where, what in told.items() for name, value in everything.items() if value in what
    }
    assert spoken == set()
    assert len(house.logs()) > 2000  # there was something to search
    assert in_columns(house.engine, everything) == KEPT
    assert f"Bearer {STORED['stored']}" in hub.tokens  # it was there to be found, and of use
    assert f"Bearer {STORED['replaced']}" not in hub.tokens


def test_the_environment_of_a_runner_holds_no_canary(house: House) -> None:
    house.environ |= HELD
    worker = house.start("worker", **QUICK)
    house.submit("steps=200 sleep=0.05")
    below = [house.runner(worker), *house.runner(worker).children(recursive=True)]
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            seen = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
            assert "anary" not in seen
            assert "DATABASE_URL" not in seen
    assert "canary" in " ".join(psutil.Process(worker.pid).environ().values())  # of the worker it does
