"""Following a job: nothing lost and nothing twice when the line breaks."""

import json

import pytest

from standalone.demo.client import Client
from standalone.demo.stream import follow, parse
from standalone.errors import DemoFailed

from .service import Answer, service


def _message(number, kind, data):
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()


FEED = [
    _message(1, "status", {"status": "running"}),
    *[_message(n, "metric", {"step": n, "values": {"train_loss": 1.0}}) for n in range(2, 6)],
    _message(6, "status", {"status": "succeeded"}),
]


def test_messages_are_read_as_the_standard_says():
    lines = [": keep-alive", "", "id: 7", "event: metric", 'data: {"a":', "data: 1}", "", "id: 8", ""]
    (message,) = parse(lines)
    assert (message.id, message.kind, message.data) == ("7", "metric", {"a": 1})


def test_a_broken_stream_goes_on_after_the_last_message():
    asked = []

    def answer(request):
        last = int(request.headers.get("last-event-id", 0))
        asked.append(last)
        if len(asked) > 3:  # it asks for what it has: end this
            return Answer(b"", 404)
        return Answer(
            b"".join(FEED[last : last + 2]) + b"data: {half", length=100_000
        )  # then the line breaks

    with service(answer) as url, Client(url, "key") as client:
        messages = list(follow(client, "job_1"))
    assert [message.id for message in messages] == ["1", "2", "3", "4", "5", "6"]
    assert asked == [0, 2, 4]


def test_a_server_error_is_tried_again():
    answers = iter([Answer(b"", 503), Answer(b"".join(FEED))])
    with service(lambda _: next(answers)) as url, Client(url, "key") as client:
        assert len(list(follow(client, "job_1"))) == len(FEED)


def test_a_service_that_is_stopping_is_not_tried_again():
    asked = []

    def answer(request):
        asked.append(request)
        return Answer(FEED[0], length=100_000)

    with (
        service(answer) as url,
        Client(url, "key") as client,
        pytest.raises(DemoFailed, match="stopped"),
    ):
        list(follow(client, "job_1", lambda: True))
    assert len(asked) == 1


def test_a_refusal_is_not_tried_again():
    with (
        service(lambda _: Answer(b"", 404)) as url,
        Client(url, "key") as client,
        pytest.raises(DemoFailed, match="404"),
    ):
        list(follow(client, "job_1"))


def test_the_key_goes_along():
    def answer(request):
        assert request.headers["authorization"] == "Bearer secret"
        return Answer(FEED[-1])

    with service(answer) as url, Client(url, "secret") as client:
        assert [message.kind for message in follow(client, "job_1")] == ["status"]
