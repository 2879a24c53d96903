"""Following live: through a network that goes away, until somebody leaves, one job or several."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import httpx
import pytest

from neftune_client import Client
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.live_logs import add_part
from neftune_store.runs import write_metrics
from neftune_store.settling import settle_failed, settle_succeeded
from tests import factories
from tests.api.judged import succeed
from tests.api.live_api import Service, claim, spec, upload
from tests.client.conftest import Neftune, heed_ctrl_c
from tests.faults.proxy import before


@pytest.fixture
def mine(service: Service, key: str) -> Iterator[httpx.Client]:
    with service.client(key) as opened:
        yield opened


def begun(service: Service, mine: httpx.Client) -> Claim:
    answer = mine.post("/jobs", json=spec(upload(mine)["id"], resources={"priority": 100}))
    return claim(service, answer.json())


def write(service: Service, claimed: Claim, steps: range) -> None:
    with unit_of_work(service.engine) as session:
        write_metrics(session, claimed, [(step, {"train_loss": 1 / step}) for step in steps])


def test_a_network_that_goes_away_while_one_watches_loses_no_point(
    service: Service, mine: httpx.Client, key: str
) -> None:
    claimed = begun(service, mine)
    write(service, claimed, range(1, 301))
    waited: list[float] = []
    with before(("127.0.0.1", service.port)) as proxy:

        def pause(seconds: float) -> None:
            """While it is away, the run goes on and ends; then the network is back."""
            waited.append(seconds)
            if len(waited) == 2:
                write(service, claimed, range(301, 401))
                with unit_of_work(service.engine) as session:
                    settle_succeeded(session, claimed, {}, [factories.make_artifact()])
            if len(waited) >= 3:
                proxy.turn("pass")

        told: list[str] = []
        url = f"http://127.0.0.1:{proxy.port}"
        with Client(url, key, pause=pause, tell=told.append) as client:
            following = client.follow(claimed.job_id)
            seen = list(islice(following, 150))
            proxy.turn("cut")
            seen += following
    assert len(waited) >= 3
    assert "Trying again" in told[0]
    assert [one.data["step"] for one in seen if one.kind == "metric"] == list(range(1, 401))
    assert seen[-1].data["status"] == "succeeded"


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(
    service: Service, mine: httpx.Client, key: str
) -> None:
    claimed = begun(service, mine)
    write(service, claimed, range(1, 4))
    env = {**os.environ, "NEFTUNE_URL": service.url, "NEFTUNE_API_KEY": key}
    command = [sys.executable, "-m", "neftune_client", "watch", "last"]
    pipe = subprocess.PIPE
    watching = subprocess.Popen(
        command,
        env=env,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - one call, and no lock
    )
    assert watching.stdout is not None
    while "step    3" not in watching.stdout.readline():
        assert watching.poll() is None
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert f"neftune watch {claimed.job_id}" in err
    assert "Traceback" not in err
    found = mine.get(f"/jobs/{claimed.job_id}").json()
    assert (found["status"], found["intent"]) == ("running", "run")


def test_on_a_terminal_the_curve_is_drawn_and_text_from_elsewhere_steers_nothing(
    service: Service, mine: httpx.Client, key: str
) -> None:
    claimed = begun(service, mine)
    write(service, claimed, range(1, 30))
    with unit_of_work(service.engine) as session:
        settle_failed(session, claimed, "nan_loss", "Beware \x1b[2J\x1b]0;of the title\x07.", retryable=False)
    leader, follower = pty.openpty()
    env = {
        **os.environ,
        "NEFTUNE_URL": service.url,
        "NEFTUNE_API_KEY": key,
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-m", "neftune_client", "watch", claimed.job_id]
    watching = subprocess.Popen(command, env=env, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    written = b""
    try:
        while block := os.read(leader, 65536):
            written += block
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(leader)
    assert watching.wait(30) == 3
    text = written.decode()
    assert "█" in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text
    assert "of the title" in text


def test_a_sweep_is_one_call_for_all_of_its_jobs(neftune: Neftune, mine: httpx.Client) -> None:
    dataset = upload(mine)["id"]
    words = ("sweep", dataset, "--alpha", "5", "--alpha", "10", "--seed", "1", "--seed", "2", "--key", "mine")
    told = neftune(*words, "--set", "training.epochs=1", "--set", "alpha=3", "--json").told
    assert (told["alpha"], told["seed"], told["strategy"]) == ([0, 5, 10], [1, 2], "grid")
    assert told["job"]["training"]["epochs"] == 1
    assert len(mine.get("/jobs").json()["items"]) == 6
    # The same key again gives the same series
    again = neftune(*words, "--set", "training.epochs=1").out
    assert again == f"series   {told['id']}\n"
    assert neftune("sweeps").out.split("\t")[:3] == [told["id"], "queued", "0 5 10"]
    assert neftune("cancel", told["id"]).out.startswith(f"{told['id']}  cancelled")
    assert neftune("sweep", dataset, "--halving", "--json").told["strategy"] == "halving"


def test_a_watched_sweep_shows_what_it_has_come_to(
    neftune: Neftune, service: Service, mine: httpx.Client
) -> None:
    words = ["sweep", upload(mine)["id"], "--alpha", "5", "--key", "mine"]
    for seed in (1, 2, 3):
        words += ["--seed", str(seed)]
    made = neftune(*words, "--json").told
    for job in mine.get(f"/sweeps/{made['id']}").json()["results"]:
        noise = (job["seed"] * 7 + job["alpha"]) % 3 / 100
        succeed(service, job, (4.2 if job["alpha"] else 4.5) + noise)
    said = neftune(*words, "--watch")
    assert said.status == 0, said.err
    assert said.out.count("succeeded") == 6
    table = [line.split("\t") for line in said.out.splitlines() if "\t" in line]
    assert [line[:2] + line[5:] for line in table] == [["0", "3/3", ""], ["5", "3/3", "3 of 3"]]
    assert table[0][3] == "the control"
    assert "take alpha 5: held-out loss -0." in said.out
    last = neftune(*words, "--watch", "--json").lines[-1]
    assert (last["event"], last["data"]["verdict"]["recommended_alpha"]) == ("judged", 5)
    assert neftune("verdict").out.splitlines()[-1] == said.out.splitlines()[-1]


def test_a_sweep_that_can_not_tell_says_so(neftune: Neftune, service: Service, mine: httpx.Client) -> None:
    made = neftune("sweep", upload(mine)["id"], "--alpha", "5", "--seed", "1", "--json").told
    for job in mine.get(f"/sweeps/{made['id']}").json()["results"]:
        succeed(service, job, 4.5 - job["alpha"] / 10)
    said = neftune("verdict", made["id"])
    assert "inconclusive: too_few_seeds" in said.out
    assert "-0.5000" in said.out
    assert "Fewer than 3 seeds" in said.err


def test_the_log_is_written_whole_and_followed_while_it_grows(
    service: Service, mine: httpx.Client, key: str, neftune: Neftune
) -> None:
    claimed = begun(service, mine)
    with unit_of_work(service.engine) as session:
        add_part(session, claimed, 1, "the first words\n")
    env = {**os.environ, "NEFTUNE_URL": service.url, "NEFTUNE_API_KEY": key}
    command = [sys.executable, "-m", "neftune_client", "logs", "-f", "last"]
    following = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline() == "the first words\n"
    assert neftune("logs", "last").out == "the first words\n"
    with unit_of_work(service.engine) as session:
        add_part(session, claimed, 2, "the last words\n")
        settle_failed(session, claimed, "nan_loss", "NaN.", retryable=False)
    assert following.communicate(timeout=30)[0] == "the last words\n"
    assert following.returncode == 0


def test_a_reader_that_has_enough_is_no_fault(service: Service, mine: httpx.Client, key: str) -> None:
    upload(mine)
    env = {**os.environ, "NEFTUNE_URL": service.url, "NEFTUNE_API_KEY": key}
    shell = f"{sys.executable} -m neftune_client datasets | true"
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert not re.search("Traceback|Exception", done.stderr)
