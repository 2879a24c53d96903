"""Following a job: nothing lost and nothing twice when the line breaks."""

import json

import pytest

from neftune_client import Client, Refused, Unreachable
from neftune_client.stream import Interrupted, parse
from tests.client.scripted import Answer, scripted


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

    with scripted(answer) as url, Client(url, "key", pause=lambda _: None) as client:
        messages = list(client.follow("job_1"))
    assert [message.id for message in messages] == ["1", "2", "3", "4", "5", "6"]
    assert asked == [0, 2, 4]


def test_a_server_error_is_tried_again():
    answers = iter([Answer(b"", 503), Answer(b"".join(FEED))])
    with scripted(lambda _: next(answers)) as url, Client(url, "key", pause=lambda _: None) as client:
        assert len(list(client.follow("job_1"))) == len(FEED)


def test_a_service_that_is_stopping_is_not_tried_again():
    asked = []

    def answer(request):
        asked.append(request)
        return Answer(FEED[0], length=100_000)

    with (
        scripted(answer) as url,
        Client(url, "key", pause=lambda _: None) as client,
        pytest.raises(Interrupted, match="stopped"),
    ):
        list(client.follow("job_1", stopping=lambda: True))
    assert len(asked) == 1


def test_a_refusal_is_not_tried_again():
    with (
        scripted(lambda _: Answer(b"", 404)) as url,
        Client(url, "key", pause=lambda _: None) as client,
        pytest.raises(Refused, match="404"),
    ):
        list(client.follow("job_1"))


def test_the_key_goes_along():
    def answer(request):
        assert request.headers["authorization"] == "Bearer secret"
        return Answer(FEED[-1])

    with scripted(answer) as url, Client(url, "secret") as client:
        assert [message.kind for message in client.follow("job_1")] == ["status"]


def test_a_service_that_stays_away_ends_the_patience():
    waited = []
    with (
        scripted(lambda _: Answer(b"", 503, {"retry-after": "200"})) as url,
        Client(url, "key", pause=waited.append) as client,
        pytest.raises(Refused, match="503"),
    ):
        list(client.follow("job_1"))
    assert waited == [200, 200, 200]


def test_nobody_there_ends_the_patience_too():
    with scripted(lambda _: Answer(b"")) as url:
        pass
    waited = []
    with (
        Client(url, "key", pause=waited.append) as client,
        pytest.raises(Unreachable, match="does not answer"),
    ):
        list(client.follow("job_1"))
    assert 500 < sum(waited) < 700
    assert max(waited) < 10


def test_several_jobs_are_followed_until_all_have_ended():
    def of(job, message):
        return message.replace(b"data: {", b'data: {"job": "%s", ' % job.encode())

    asked = []
    first = of("job_1", FEED[0]) + of("job_1", FEED[5])
    second = of("job_2", FEED[0]) + of("job_2", FEED[5])

    def answer(request):
        asked.append((request.path, request.query, request.headers.get("last-event-id")))
        return Answer(first if len(asked) == 1 else second)

    with scripted(answer) as url, Client(url, "key", pause=lambda _: None) as client:
        messages = list(client.follow("job_1", "job_2"))
    assert [(m.data["job"], m.data["status"]) for m in messages if m.kind == "status"] == [
        ("job_1", "running"), ("job_1", "succeeded"), ("job_2", "running"), ("job_2", "succeeded")
    ]  # fmt: skip
    assert asked == [("/stream", "jobs=job_1,job_2", None), ("/stream", "jobs=job_1,job_2", "6")]
