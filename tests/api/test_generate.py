"""Asking models: what reaches the process that answers, and what of its words reaches the client."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIError, BadRequestError, ConflictError, InternalServerError, NotFoundError, OpenAI
from sqlalchemy import text

from neftune_core.generation_lines import Began, Failed, Piece, Question, Turn
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.settling import settle_succeeded
from tests.api.live_api import MODEL, Service, claim, store_artifact, submit, succeed, upload
from tests.api.live_generator import TOKEN, Generator, answering, saying
from tests.api.openai_sdk import key_of, sdk
from tests.api.test_security import without_request_id
from worker.generation.desk import Ticket

ADAPTER = {
    "adapter": (b"a tar", "application/x-tar"),
    "adapter/adapter_config.json": (b"{}", "application/json"),
    "adapter/adapter_model.safetensors": (b"weights", "application/octet-stream"),
    "adapter/README.md": (b"# read", "text/markdown"),
}
ASK = {"model": MODEL, "prompt": "Say 1."}
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Say 1."}]}


@pytest.fixture
def generator(service: Service) -> Iterator[Generator]:
    """One that always says the same."""
    with answering(service, saying("It ", "is ", "1.")) as found:
        yield found


@pytest.fixture
def ai(service: Service, client: httpx.Client) -> Iterator[OpenAI]:
    """The SDK with the key of the native client."""
    with sdk(service.url, key_of(client)) as found:
        yield found


def asked(generator: Generator) -> Question:
    return generator.orders[-1].questions[0]


def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """Read a native stream."""
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def tuned(service: Service, client: httpx.Client) -> dict[str, Any]:
    """A job that has left an adapter."""
    return succeed(service, client, **ADAPTER)


def test_an_answer_comes_whole(client: httpx.Client, generator: Generator) -> None:
    answer = client.post("/generate", json=ASK)
    assert answer.status_code == 200
    assert answer.json() == {
        "answers": [
            {
                "index": 0,
                "model": MODEL,
                "template": "auto",
                "text": "It is 1.",
                "finish_reason": "stop",
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            }
        ]
    }
    question = asked(generator)
    assert question.asked == (Turn("user", "Say 1."),)
    choosing = question.choosing
    assert (choosing.max_new_tokens, choosing.temperature, choosing.repetition_penalty) == (256, 0.0, 1.2)
    assert (question.tuned, question.quantization) == (None, None)


def test_an_answer_comes_word_by_word(client: httpx.Client, generator: Generator) -> None:
    answer = client.post("/generate", json={**ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    heard = events(answer)
    assert [data["text"] for name, data in heard if name == "text"] == ["It ", "is ", "1."]
    assert [name for name, _ in heard[-2:]] == ["answer", "end"]
    whole = client.post("/generate", json=ASK).json()["answers"][0]
    assert heard[-2][1] == whole


def test_several_models_answer_side_by_side_in_the_order_that_was_asked(
    service: Service, client: httpx.Client, generator: Generator
) -> None:
    job = tuned(service, client)
    names = [job["id"], MODEL, MODEL]
    told = client.post("/generate", json={**ASK, "model": names}).json()["answers"]
    assert [(one["index"], one["model"]) for one in told] == list(enumerate(names))
    assert [one.tuned is None for one in generator.orders[-1].questions] == [False, True, True]
    streamed = events(client.post("/generate", json={**ASK, "model": names, "stream": True}))
    assert [data["index"] for name, data in streamed if name == "answer"] == [0, 1, 2]
    assert [data["index"] for name, data in streamed if name == "text"] == [0] * 3 + [1] * 3 + [2] * 3


def test_how_tokens_are_chosen_reaches_who_answers(client: httpx.Client, generator: Generator) -> None:
    given = {"max_new_tokens": 5, "temperature": 0.7, "top_p": 0.5, "repetition_penalty": 1, "seed": 3}
    client.post("/generate", json={**ASK, **given, "stop": "x", "template": "alpaca-newline"})
    choosing = asked(generator).choosing
    assert {name: getattr(choosing, name) for name in given} == given
    assert choosing.stop == ("x",)
    assert asked(generator).template == "alpaca-newline"


def test_a_prompt_for_no_template_stays_as_it_is(client: httpx.Client, generator: Generator) -> None:
    client.post("/generate", json={**ASK, "template": "none"})
    assert (asked(generator).asked, asked(generator).template) == ("Say 1.", "none")


def test_what_a_job_has_made_is_asked_by_its_id_or_its_name(
    service: Service, client: httpx.Client, ai: OpenAI, generator: Generator
) -> None:
    # Given a tuned model
    job = tuned(service, client)
    name = ai.fine_tuning.jobs.retrieve(job["id"].replace("job_", "ftjob-")).fine_tuned_model
    assert name
    # When it is asked under each of its names, on each surface
    for model in (job["id"], name):
        client.post("/generate", json={**ASK, "model": model})
        ai.chat.completions.create(model=model, messages=CHAT["messages"])
        ai.completions.create(model=model, prompt="Say 1.")
    # Then it is always the adapter, and of its files the two that are loaded
    made = [order.questions[0].tuned for order in generator.orders]
    assert len(made) == 6
    assert {one.kind for one in made if one} == {"adapter"}
    files = {file.name: file for one in made if one for file in one.files}
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    listed = {one["name"]: one["sha256"] for one in job["artifacts"]}
    assert files["adapter_model.safetensors"].sha256 == listed["adapter/adapter_model.safetensors"]


def test_a_name_that_only_ends_like_a_job_of_ones_own_is_unknown(
    service: Service, client: httpx.Client, generator: Generator
) -> None:
    tail = tuned(service, client)["id"][-8:]
    answer = client.post("/generate", json={**ASK, "model": f"ft:{MODEL}:org-0:other:{tail}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("row", "template", "asked_as"),
    [
        ({"text": "Say 1."}, "plain", "Say 1."),
        ({"prompt": "Say", "completion": " 1."}, "plain", "Say 1."),
        ({"instruction": "Say", "input": "", "output": "1."}, "plain", (Turn("user", "Say 1."),)),
        ({"instruction": "Say", "input": "", "output": "1."}, "alpaca", (Turn("user", "Say 1."),)),
    ],
)
def test_a_model_is_asked_as_it_was_trained(  # noqa: PLR0917 - fixtures and a case
    service: Service,
    client: httpx.Client,
    generator: Generator,
    row: dict[str, str],
    template: str,
    asked_as: object,
) -> None:
    # Given a job on such rows, with such a template
    dataset = upload(client, json.dumps(row).encode() + b"\n")["id"]
    job = submit(client, dataset=dataset, training={"template": template})
    claimed = claim(service, job)
    files = [store_artifact(service, name, *what) for name, what in ADAPTER.items()]
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claimed, {"seed": 42}, files)
    # When its model is asked
    client.post("/generate", json={**ASK, "model": job["id"]})
    # Then by that template, and where rows had nothing around them, with nothing around the prompt
    assert (asked(generator).asked, asked(generator).template) == (asked_as, template)
    client.post("/generate", json={**ASK, "model": job["id"], "template": "vicuna"})
    assert (asked(generator).asked, asked(generator).template) == ((Turn("user", "Say 1."),), "vicuna")


def test_a_job_without_a_model_is_told_apart_from_one_that_is_not_there(
    client: httpx.Client, ai: OpenAI, generator: Generator
) -> None:
    job = submit(client)
    answer = client.post("/generate", json={**ASK, "model": job["id"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "job_has_no_model")
    assert answer.headers["x-should-retry"] == "false"
    with pytest.raises(ConflictError) as told:
        ai.chat.completions.create(model=job["id"], messages=CHAT["messages"])
    assert (told.value.code, told.value.param) == ("job_has_no_model", "model")
    answer = client.post("/generate", json={**ASK, "model": f"{job['id']}:ckpt-step-3"})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert generator.orders == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", ASK),
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", ASK),
    ],
)
def test_a_foreign_model_and_an_unknown_one_read_the_same(  # noqa: PLR0917 - fixtures and a case
    service: Service,
    client: httpx.Client,
    stranger: httpx.Client,
    generator: Generator,
    path: str,
    body: dict[str, Any],
) -> None:
    job = tuned(service, client)
    tail = job["id"][-8:]
    there = f"/v1/fine_tuning/jobs/{job['id'].replace('job_', 'ftjob-')}"
    name = client.get(there).json()["fine_tuned_model"]
    names = [job["id"], name, f"{name}:ckpt-step-4", f"{job['id']}:ckpt-step-4", new_id("job"), "org/none"]
    names += [f"ft:{MODEL}:org-0:x:{tail}", "job_", "/etc/passwd", "../base", "x" * 200, "job_\u00e9"]

    told = [without_request_id(stranger.post(path, json={**body, "model": name})) for name in names]

    assert told[0][0] == 404
    assert all(one == told[0] for one in told)
    assert generator.orders == []
    assert client.post(path, json={**body, "model": job["id"]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "model"),
        ({**ASK, "prompt": ""}, "prompt"),
        ({**ASK, "prompt": 5}, "prompt"),
        ({**ASK, "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"model": MODEL}, "prompt"),
        ({"model": [], "prompt": "x"}, "model"),
        ({"model": [MODEL] * 9, "prompt": "x"}, "model"),
        ({"model": "", "prompt": "x"}, "model"),
        ({"model": MODEL, "messages": []}, "messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}] * 257}, "messages"),
        ({"model": MODEL, "messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"model": MODEL, "messages": [{"role": "user"}]}, "messages.0.content"),
        ({"model": MODEL, "messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"model": MODEL, "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "template": "none"}, "template"),
        ({**ASK, "template": "nothing"}, "template"),
        ({**ASK, "temperature": 2.1}, "temperature"),
        ({**ASK, "temperature": -0.1}, "temperature"),
        ({**ASK, "temperature": "hot"}, "temperature"),
        ({**ASK, "top_p": 0}, "top_p"),
        ({**ASK, "top_p": 1.5}, "top_p"),
        ({**ASK, "repetition_penalty": 0}, "repetition_penalty"),
        ({**ASK, "max_new_tokens": 0}, "max_new_tokens"),
        ({**ASK, "max_new_tokens": 8193}, "max_new_tokens"),
        ({**ASK, "max_new_tokens": True}, "max_new_tokens"),
        ({**ASK, "max_new_tokens": 1.5}, "max_new_tokens"),
        ({**ASK, "seed": -1}, "seed"),
        ({**ASK, "seed": 2**31}, "seed"),
        ({**ASK, "stop": [""]}, "stop.0"),
        ({**ASK, "stop": ["x"] * 5}, "stop"),
        ({**ASK, "stream": "yes"}, "stream"),
        ({**ASK, "temprature": 1}, "temprature"),
        ([], ""),
        ("text", ""),
    ],
)
def test_a_faulty_question_is_told_with_its_place_and_asks_nobody(
    client: httpx.Client, generator: Generator, body: Any, place: str
) -> None:
    answer = client.post("/generate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert place in {".".join(map(str, fault["loc"])) for fault in answer.json()["errors"]}
    assert generator.orders == []


@pytest.mark.parametrize("path", ["/generate", "/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"model": "org/base", "prompt": "a\\u0000b"}',
        b'{"model": "org/base", "prompt": "\\ud800"}',
        b'{"model": "org/base", "prompt": "x", "temperature": NaN}',
        b'{"model": "org/base", "prompt": "x", "prompt": "y"}',
        b'{"model": "org/base", "prompt": "\xff"}',
        b"",
    ],
)
def test_what_is_no_json_of_ours_is_refused(
    client: httpx.Client, generator: Generator, path: str, raw: bytes
) -> None:
    answer = client.post(path, content=raw, headers={"content-type": "application/json"})
    told = answer.json()
    assert told.get("error", told)["code"] == "invalid_json"
    assert answer.status_code == (400 if "error" in told else 422)
    assert generator.orders == []


def test_without_anybody_who_answers_it_says_so(client: httpx.Client, ai: OpenAI) -> None:
    answer = client.post("/generate", json=ASK)
    assert (answer.status_code, answer.json()["code"]) == (503, "generation_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    with pytest.raises(InternalServerError) as told:
        ai.chat.completions.create(**CHAT)
    assert told.value.code == "generation_unavailable"


def test_one_that_was_not_heard_for_long_is_not_asked(
    service: Service, client: httpx.Client, generator: Generator
) -> None:
    with service.engine.begin() as connection:
        silent = text("UPDATE workers SET heartbeat_at = heartbeat_at - :age WHERE id = :id")
        connection.execute(silent, {"age": timedelta(seconds=21), "id": generator.id})
    assert client.post("/generate", json=ASK).json()["code"] == "generation_unavailable"
    assert generator.orders == []


def test_one_that_is_gone_or_full_is_passed_over(service: Service, client: httpx.Client) -> None:
    # Given one that always has room, heard before one that is full and one whose address nobody has
    with answering(service, saying("mine")) as free, answering(service, hold, most=0) as full:
        with answering(service, saying("never")) as gone:
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                port = nobody.getsockname()[1]
            with service.engine.begin() as connection:
                moved = text("UPDATE workers SET address = :address WHERE id = :id")
                connection.execute(moved, {"address": f"127.0.0.1:{port}", "id": gone.id})
            with client.stream("POST", "/generate", json={**ASK, "stream": True}) as held:
                words = held.iter_bytes()  # dropping it would hang up
                next(words)  # the full one answers this one, and no other
                assert len(full.orders) == 1
                # When another client asks, then the free one answers
                told = client.post("/generate", json=ASK)
                assert told.json()["answers"][0]["text"] == "mine"
        assert full.gone.wait(5)
        assert len(free.orders) == 1


def hold(ticket: Ticket) -> None:
    """Say one word after the other until nobody listens."""
    ticket.tell(0, Began(1, "chat", 1))
    while not ticket.gone.wait(0.005):
        ticket.tell(0, Piece(1, "."))


def be_silent(ticket: Ticket) -> None:
    """Say nothing until nobody listens."""
    ticket.gone.wait(10)


def begin_only(ticket: Ticket) -> None:
    """Begin, and say nothing more."""
    ticket.tell(0, Began(1, "chat", 1))
    ticket.gone.wait(10)


def test_beyond_the_queue_it_is_busy(service: Service, client: httpx.Client) -> None:
    with (
        answering(service, hold, most=0),
        client.stream("POST", "/generate", json={**ASK, "stream": True}) as held,
    ):
        words = held.iter_bytes()  # dropping it would hang up
        next(words)
        answer = client.post("/generate", json=ASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "generation_busy")
        assert int(answer.headers["retry-after"]) > 0


def test_who_answers_is_told_whose_order_it_is(
    client: httpx.Client, stranger: httpx.Client, generator: Generator
) -> None:
    for one in (client, client, stranger):
        assert one.post("/generate", json=ASK).status_code == 200
    mine, mine_too, theirs = (order.asker for order in generator.orders)
    assert mine == mine_too != theirs
    assert mine.startswith("key_")  # its id, never the key


@pytest.mark.parametrize("script", [hold, be_silent, begin_only])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", ASK),
        ("/generate", {**ASK, "stream": True}),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", ASK),
    ],
)
def test_a_client_that_hangs_up_ends_the_answer(
    service: Service, script: Any, path: str, body: dict[str, Any]
) -> None:
    with answering(service, script) as generator:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as line:
            data = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key()}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
            )
            line.sendall(head.encode() + data)
            assert wait_for(lambda: generator.orders)
            assert not generator.gone.wait(0.3)  # as long as it listens, the answer goes on
        assert generator.gone.wait(10)


@pytest.mark.parametrize("script", [hold, be_silent])
def test_an_answer_ends_with_the_key_that_asked(service: Service, client: httpx.Client, script: Any) -> None:
    # Given an answer that goes on, or a question that waits for its first word
    made = client.post("/keys", json={"name": "asks", "scopes": ["write"]}).json()
    said: list[str] = []

    def ask() -> None:
        with service.client(made["key"]) as asker:
            said.append(asker.post("/generate", json={**ASK, "stream": True}).text)

    with answering(service, script) as generator:
        asking = threading.Thread(target=ask)
        asking.start()
        assert wait_for(lambda: generator.orders)
        # When the key is revoked
        client.delete(f"/keys/{made['id']}")
        # Then who answers is told to stop, and the client that nothing more comes
        assert generator.gone.wait(9)
        asking.join(10)
    assert "generation_interrupted" in said[0]


def wait_for(true: Any, seconds: float = 10) -> bool:
    done = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if true():
            return True
        done.wait(0.02)
    return False


def break_off(ticket: Ticket) -> None:
    """Say half of it, and fail."""
    ticket.tell(0, Began(1, "chat", 1))
    ticket.tell(0, Piece(1, "It "))
    ticket.tell(0, Failed(1, "generation_interrupted", "The process that held the model died."))
    ticket.close()


def vanish(ticket: Ticket) -> None:
    """Say half of it, and no more."""
    ticket.tell(0, Began(1, "chat", 1))
    ticket.tell(0, Piece(1, "It "))
    ticket.close()


@pytest.mark.parametrize("script", [break_off, vanish])
def test_an_answer_that_breaks_off_is_told_as_such(
    service: Service, client: httpx.Client, ai: OpenAI, script: Any
) -> None:
    with answering(service, script):
        answer = client.post("/generate", json=ASK)
        assert (answer.status_code, answer.json()["code"]) == (503, "generation_interrupted")
        heard = events(client.post("/generate", json={**ASK, "stream": True}))
        assert [name for name, _ in heard] == ["text", "error", "end"]
        assert heard[1][1]["code"] == "generation_interrupted"
        chunks = iter(ai.chat.completions.create(**CHAT, stream=True))
        assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "It "]
        with pytest.raises(APIError) as told:
            next(chunks)
        assert told.value.code == "generation_interrupted"


@pytest.mark.parametrize(
    ("code", "status", "place"),
    [
        ("prompt_too_long", 422, ["messages"]),
        ("template_error", 422, ["messages"]),
        ("model_not_available", 422, None),
        ("generation_busy", 503, None),
        ("generation_out_of_memory", 503, None),
        ("storage_unavailable", 503, None),
        ("internal", 500, None),
        ("never_heard_of", 500, None),
    ],
)
def test_what_stands_against_an_answer_is_told_before_it_begins(
    service: Service, client: httpx.Client, code: str, status: int, place: list[str] | None
) -> None:
    def refuse(ticket: Ticket) -> None:
        ticket.tell(0, Failed(1, code, "Why."))
        ticket.close()

    with answering(service, refuse):
        for stream in (False, True):
            answer = client.post("/generate", json={**ASK, "stream": stream})
            assert answer.status_code == status
            told = answer.json()
            assert told["code"] == (code if status != 500 else "internal")
            assert (told["detail"] == "Why.") == (status != 500)
            assert [fault["loc"] for fault in told["errors"]] == ([place] if place else [])
            assert ("retry-after" in answer.headers) == (status == 503)


def test_the_sdk_reads_a_chat_whole_and_in_pieces(ai: OpenAI, generator: Generator) -> None:
    whole = ai.chat.completions.create(**CHAT)
    assert whole.object == "chat.completion"
    assert (whole.choices[0].message.role, whole.choices[0].message.content) == ("assistant", "It is 1.")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (7, 3, 10)
    chunks = list(ai.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(one.delta.content or "" for chunk in chunks for one in chunk.choices) == "It is 1."
    assert [one.finish_reason for chunk in chunks for one in chunk.choices] == [None] * 4 + ["stop"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert chunks[0].usage is None


def test_the_sdk_reads_texts_whole_and_in_pieces(service: Service, ai: OpenAI) -> None:
    with answering(service, saying(" 1", ".", finish="length")) as generator:
        whole = ai.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=2)
        assert [(one.index, one.text, one.finish_reason) for one in whole.choices] == [
            (0, " 1.", "length"),
            (1, " 1.", "length"),
        ]
        assert whole.usage
        assert whole.usage.total_tokens == 18
        assert [one.asked for one in generator.orders[-1].questions] == ["a", "b"]
        chunks = list(ai.completions.create(model=MODEL, prompt="a", stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == " 1."
        assert chunks[-1].choices[0].finish_reason == "length"
        assert asked(generator).choosing.max_new_tokens == 16


def test_what_clients_send_beside_the_question_is_understood(ai: OpenAI, generator: Generator) -> None:
    ai.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "1."}]},
        ],
        max_completion_tokens=9,
        temperature=0.5,
        seed=3,
        stop=["x", "y"],
        user="somebody",
        n=1,
        frequency_penalty=0,
        logit_bias={},
        extra_body={"repetition_penalty": 1.0},
    )
    assert asked(generator).asked == (Turn("system", "Be short."), Turn("user", "Say 1."))
    choosing = asked(generator).choosing
    assert (choosing.max_new_tokens, choosing.stop, choosing.repetition_penalty) == (9, ("x", "y"), 1.0)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": False}, "presence_penalty"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"n": True}, "n"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]},
            "messages.0.content.0.type",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x", "contnt": 1}]}, "messages.0.contnt"),
        ({"messages": []}, "messages"),
        ({"reasoning": 1}, "reasoning"),
    ],
)
def test_what_would_change_an_answer_and_is_not_served_is_refused(
    ai: OpenAI, generator: Generator, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as told:
        ai.post("/chat/completions", body={**CHAT, **given}, cast_to=object)
    assert (told.value.code, told.value.param) == ("invalid_request", param)
    assert generator.orders == []


def test_an_unknown_model_is_not_found_by_the_sdk(ai: OpenAI, generator: Generator) -> None:
    with pytest.raises(NotFoundError) as told:
        ai.chat.completions.create(model="org/nothing", messages=CHAT["messages"])
    assert (told.value.code, told.value.param) == ("model_not_found", "model")


def test_workers_are_listed_without_the_way_to_them(
    service: Service, client: httpx.Client, stranger: httpx.Client, generator: Generator
) -> None:
    answer = client.get("/workers")
    (mine,) = [one for one in answer.json()["items"] if one["id"] == generator.id]
    assert (mine["kind"], mine["device"], mine["alive"], mine["job"]) == ("generate", "cpu", True, None)
    assert mine["heartbeat_age_s"] < 20
    seen = [answer, stranger.get("/workers"), client.post("/generate", json=ASK), client.get("/openapi.json"),
            client.post("/generate", json={**ASK, "stream": True})]  # fmt: skip
    for one in seen:
        assert TOKEN not in one.text + str(one.headers)
        assert generator.address not in one.text + str(one.headers)


def test_a_unix_socket_serves_as_well(service: Service, client: httpx.Client, tmp_path: Path) -> None:
    path = Path(f"/tmp/neftune-t-{tmp_path.parent.name[-8:]}.sock")
    with contextlib.ExitStack() as after:
        after.callback(path.unlink, missing_ok=True)
        with answering(service, saying("here"), listen=f"unix:{path}") as generator:
            assert path.stat().st_mode & 0o077 == 0
            assert client.post("/generate", json=ASK).json()["answers"][0]["text"] == "here"
            assert generator.address == f"unix:{path}"
        assert not path.exists()


def test_a_wrong_token_is_not_heard(service: Service, client: httpx.Client, generator: Generator) -> None:
    url = f"http://{generator.address}"
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {TOKEN}"}):
        assert httpx.post(f"{url}/orders", headers=headers, content=b"{}", trust_env=False).status_code == 401
    good = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.post(f"{url}/orders", headers=good, content=b"{}", trust_env=False).status_code == 400
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    assert generator.orders == []
