"""Lines of the report pipe: what is taken, what is refused, what a flood does."""

import os
import threading
import time
from collections.abc import Iterator
from typing import IO

import pytest

from neftune_core.messages import MAX_LINE_BYTES, Artifact, Event, Failed, Metric, encode
from tests.worker_house import until
from worker.inbox import MAX_EVENTS, MAX_REFUSED, QUEUE_LENGTH, Inbox


class Line:
    """A runner's end of the pipe, and the inbox at the other."""

    def __init__(self) -> None:
        read_fd, write_fd = os.pipe()
        self.notes: list[str] = []
        self.source: IO[bytes] = os.fdopen(read_fd, "rb", buffering=0)
        self.sink: IO[bytes] = os.fdopen(write_fd, "wb", buffering=0)
        self.inbox = Inbox(self.source, self.notes.append)

    def hear(self, *said: bytes) -> list[object]:
        for line in said:
            self.sink.write(line)
        self.sink.close()
        assert self.inbox.finish(5)
        return [self.inbox.messages.get_nowait() for _ in range(self.inbox.messages.qsize())]

    def close(self) -> None:
        self.inbox.close()
        self.sink.close()
        assert self.inbox.finish(5)
        self.source.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def metric(step: int, **values: float | None) -> bytes:
    return encode(Metric(step, values))


def test_messages_come_out_in_order(line: Line) -> None:
    said = [Event("run.planned", {"total_steps": 2}), Metric(0, {"loss": 1.0}), Metric(1, {"loss": None})]
    assert line.hear(*map(encode, said)) == said
    assert line.inbox.refused == 0


def test_a_line_may_come_in_pieces_and_without_its_end(line: Line) -> None:
    whole = metric(1, loss=1.0) + metric(2, loss=2.0)[:-1]
    assert [message.step for message in line.hear(*(bytes([byte]) for byte in whole))] == [1, 2]


def test_results_and_the_first_reason_are_kept_aside(line: Line) -> None:
    heard = line.hear(
        encode(Artifact("adapter", "adapter")),
        encode(Failed("nan_loss", "first")),
        encode(Failed("internal", "second")),
    )
    assert heard == []
    assert line.inbox.artifacts == {"adapter": "adapter"}
    assert line.inbox.failed == Failed("nan_loss", "first")


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b'{"type":"metric","step":-1,"values":{}}\n',
        b'{"type":"metric","step":1,"values":{"loss":NaN}}\n',
        b'{"type":"metric","step":1,"values":{"LOSS":1}}\n',
        b'{"type":"metric","step":1,"values":{},"more":1}\n',
        b'{"type":"metric","step":1.5,"values":{}}\n',
        b'{"type":"unknown"}\n',
        b'{"type":"event","name":"job.succeeded","data":{}}\n',
        b'{"type":"event","name":"run.started","data":{}}\n',
        b'{"type":"event","name":"run.lost","data":{}}\n',
        b'{"type":"event","name":"rewound","data":{}}\n',
        b"[" * 60_000 + b"\n",
        b'{"type":"event","name":"run.deep","data":{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}}\n",
        b"x" * (MAX_LINE_BYTES + 1) + b"\n",
        b"x" * (3 * MAX_LINE_BYTES) + b"\n",
    ],
    ids=lambda bad: repr(bad[:60]),
)
def test_a_bad_line_is_refused_and_the_next_one_is_taken(line: Line, bad: bytes) -> None:
    writer = threading.Thread(target=lambda: (line.sink.write(metric(1)), line.sink.write(bad)))
    writer.start()
    writer.join(5)
    assert [message.step for message in line.hear(metric(2))] == [1, 2]
    assert line.inbox.refused == 1
    assert line.notes[0].startswith("[supervisor] report line 2 refused: ")


def test_a_line_of_just_the_longest_length_is_taken(line: Line) -> None:
    frame = len(encode(Event("run.long", {"x": ""}))) - 1
    longest = encode(Event("run.long", {"x": "y" * (MAX_LINE_BYTES - frame)}))
    assert len(longest) == MAX_LINE_BYTES + 1  # and the newline
    assert len(line.hear(longest)) == 1


def test_a_number_that_is_too_large_for_a_float_becomes_none(line: Line) -> None:
    heard = line.hear(b'{"type":"metric","step":1,"values":{"loss":1e999,"other":1}}\n')
    assert heard == [] or heard == [Metric(1, {"loss": None, "other": 1.0})]


def test_steps_go_forward_only(line: Line) -> None:
    heard = line.hear(metric(0), metric(2), metric(2), metric(1), metric(3))
    assert [message.step for message in heard] == [0, 2, 3]
    assert line.inbox.refused == 2


def test_events_are_bounded(line: Line) -> None:
    heard = line.hear(*[encode(Event("run.said", {}))] * (MAX_EVENTS + 5))
    assert len(heard) == MAX_EVENTS
    assert line.inbox.refused == 5


def test_a_runner_of_nonsense_is_hopeless(line: Line) -> None:
    line.hear(b"x\n" * (MAX_REFUSED - 1))
    assert not line.inbox.hopeless
    assert len(line.notes) == 20  # not every line of a flood is worth a note


def test_a_flood_waits_in_the_pipe_and_not_in_memory(line: Line) -> None:
    written = 0

    def flood() -> None:
        nonlocal written
        for step in range(QUEUE_LENGTH * 4):
            line.sink.write(metric(step))
            written += 1

    writer = threading.Thread(target=flood, daemon=True)
    writer.start()
    until(lambda: line.inbox.messages.full() or None, 5)
    time.sleep(0.3)
    held = written
    assert QUEUE_LENGTH <= held < QUEUE_LENGTH * 4  # the writer is blocked, as a runner would be
    taken = [line.inbox.messages.get(timeout=1) for _ in range(QUEUE_LENGTH * 4)]
    assert [message.step for message in taken] == list(range(QUEUE_LENGTH * 4))
    writer.join(5)
