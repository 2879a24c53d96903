"""`neftune chat` against a running api and somebody who answers as the test says."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from neftune_client import Client
from neftune_core.generation_lines import Began, Failed, Piece, Turn
from neftune_store.db import unit_of_work
from neftune_store.settling import settle_succeeded
from tests.api.live_api import MODEL, Service, claim, store_artifact, submit
from tests.api.live_generator import Generator, answering, saying
from tests.client.conftest import Neftune, heed_ctrl_c
from tests.client.scripted import Answer, Asked, as_json, scripted
from worker.generation.desk import Ticket


class Terminal(io.StringIO):
    """What somebody types who can see what is written."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def generator(service: Service) -> Iterator[Generator]:
    with answering(service, saying("It ", "is ", "1.")) as found:
        yield found


def tuned(service: Service, key: str) -> str:
    """A job that has left an adapter and a checkpoint."""
    files = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    with service.client(key) as mine:
        job = submit(mine)
        claimed = claim(service, job)
        rows = [store_artifact(service, name, b"{}", "application/octet-stream") for name in files]
        with unit_of_work(service.engine) as session:
            settle_succeeded(session, claimed, {"seed": 42, "probe": {}}, rows)
    return str(job["id"])


def test_a_question_is_answered(neftune: Neftune, generator: Generator) -> None:
    said = neftune("chat", MODEL, "Say 1.", "--tokens", 9, "--temperature", 0.5, "--seed", 3)
    assert (said.status, said.out, said.err) == (0, "It is 1.\n", "")
    question = generator.orders[-1].questions[0]
    assert question.asked == (Turn("user", "Say 1."),)
    choosing = question.choosing
    assert (choosing.max_new_tokens, choosing.temperature, choosing.seed) == (9, 0.5, 3)


def test_what_a_job_has_made_is_asked_beside_its_base(
    neftune: Neftune, service: Service, key: str, generator: Generator
) -> None:
    job = tuned(service, key)
    said = neftune("chat", "last", "Say 1.", "--beside", MODEL)
    assert said.out == f"--- {job}\nIt is 1.\n--- {MODEL}\nIt is 1.\n"
    assert [one.tuned is None for one in generator.orders[-1].questions] == [False, True]


def test_the_question_comes_from_a_pipe_and_the_answer_as_a_document(
    neftune: Neftune, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Say 1.\n"))
    said = neftune("chat", MODEL, "--system", "Be short.", "--json")
    assert (said.told["text"], said.told["finish_reason"]) == ("It is 1.", "stop")
    turns = (Turn("system", "Be short."), Turn("user", "Say 1."))
    assert generator.orders[-1].questions[0].asked == turns


def test_a_conversation_goes_on_with_what_was_said(
    neftune: Neftune, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("Say 1.\n\nSay 2.\n"))
    said = neftune("chat", MODEL)
    assert said.status == 0
    assert said.out.count("It is 1.\n") == 2
    first, second = (order.questions[0].asked for order in generator.orders)
    assert first == (Turn("user", "Say 1."),)
    assert second == (*first, Turn("assistant", "It is 1."), Turn("user", "Say 2."))


def test_a_long_answer_says_that_it_was_cut(neftune: Neftune, service: Service) -> None:
    with answering(service, saying("and on", finish="length")):
        said = neftune("chat", MODEL, "Go on.")
    assert said.out == "and on\n"
    assert "--tokens" in said.err


def test_words_for_a_terminal_do_not_steer_it(neftune: Neftune, service: Service) -> None:
    with answering(service, saying("\x1b[2Jred", "\x07\r")):
        said = neftune("chat", MODEL, "Ring.")  # the fixture looks for escapes
    assert said.out == "\ufffd[2Jred\ufffd\ufffd\n"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("chat", "org/nothing", "Hi."), 1, "model_not_found"),
        (("chat", MODEL, "Hi.", "--temperature", "9"), 1, "temperature: "),
        (("chat", MODEL, "Hi.", "--template", "none", "--system", "x"), 1, "template: "),
        (("chat", "last", "Hi."), 2, "There is no job yet."),
    ],
)
def test_what_can_not_be_asked_says_why(
    neftune: Neftune, generator: Generator, words: tuple[str, ...], status: int, sentence: str
) -> None:
    said = neftune(*words)
    assert (said.status, said.out) == (status, "")
    assert sentence in said.err
    assert generator.orders == []


def test_nothing_at_all_is_no_question(neftune: Neftune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert neftune("chat", MODEL).status == 2
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert neftune("chat", MODEL, "--json").status == 2


def test_an_answer_that_breaks_off_is_no_success(neftune: Neftune, service: Service) -> None:
    def breaks(ticket: Ticket) -> None:
        ticket.tell(0, Began(1, "vicuna", 7))
        ticket.tell(0, Piece(1, "It "))
        ticket.tell(0, Failed(1, "generation_interrupted", "The child is gone."))
        ticket.close()

    with answering(service, breaks):
        said = neftune("chat", MODEL, "Say 1.")
    assert (said.status, said.out) == (1, "It ")
    assert "generation_interrupted: " in said.err


@pytest.mark.parametrize("words", [b'event: text\ndata: {"index": 0, "text": "It "}\n\n', b""])
def test_a_stream_without_its_end_is_no_success(
    neftune: Neftune, monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    with scripted(lambda _: Answer(words, headers={"content-type": "text/event-stream"})) as url:
        monkeypatch.setenv("NEFTUNE_URL", url)
        said = neftune("chat", MODEL, "Say 1.")
    assert said.status == 1
    assert "generation_interrupted" in said.err


def test_who_is_busy_is_asked_again(neftune: Neftune, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []

    def busy_once(one: Asked) -> Answer:
        asked.append(one)
        if len(asked) == 1:
            busy = as_json({"code": "generation_busy", "detail": "Others wait."}, 503)
            return Answer(busy.body, 503, {**busy.headers, "retry-after": "0"})
        return Answer(b"event: end\ndata: {}\n\n", headers={"content-type": "text/event-stream"})

    with scripted(busy_once) as url:
        monkeypatch.setenv("NEFTUNE_URL", url)
        assert neftune("chat", MODEL, "Say 1.").status == 0
    assert [one.path for one in asked] == ["/generate", "/generate"]
    assert asked[0].body == asked[1].body


def test_ctrl_c_ends_the_answer_and_the_work_on_it(service: Service, key: str) -> None:
    def speaks_until_nobody_listens(ticket: Ticket) -> None:
        ticket.tell(0, Began(1, "vicuna", 7))
        ticket.tell(0, Piece(1, "It "))
        ticket.gone.wait(20)
        ticket.close()

    with answering(service, speaks_until_nobody_listens) as generator:
        env = {**os.environ, "NEFTUNE_URL": service.url, "NEFTUNE_API_KEY": key}
        command = [sys.executable, "-m", "neftune_client", "chat", MODEL, "Say 1."]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        with subprocess.Popen(command, env=env, preexec_fn=heed_ctrl_c, **pipes) as asking:  # noqa: PLW1509 - one call
            assert asking.stdout is not None
            assert asking.stderr is not None
            assert asking.stdout.read(3) == b"It "
            asking.send_signal(signal.SIGINT)
            assert asking.wait(20) == 130
            assert b"Traceback" not in asking.stderr.read()
        assert generator.gone.wait(20)


def test_a_script_reads_the_answer_as_it_is_said(
    service: Service, key: str, generator: Generator, client: httpx.Client
) -> None:
    with Client(service.url, key) as mine:
        heard = list(mine.ask({"model": MODEL, "prompt": "Say 1."}))
    assert [one.data["text"] for one in heard if one.kind == "text"] == ["It ", "is ", "1."]
    assert [one.kind for one in heard][-1] == "answer"
