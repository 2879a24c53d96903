"""Judges that are down, slow, closed, elsewhere or mad: what is missing is told, and the rest counts."""

import re
import socket
import threading
import time
from dataclasses import replace

import pytest

from neftune_core.evaluate.judge.alpaca_eval import Pair
from neftune_core.evaluate.judge.endpoint import Endpoint, Then, Unanswered
from neftune_core.evaluate.judge.judging import WHY, judge_pairs
from neftune_core.evaluate.judge.question import messages
from neftune_core.evaluate.judge.remembered import Known, Remembered
from tests.core.evaluate.judges import LOCAL, Going, answer, judge_at, judging, longer

PAIRS = [Pair(f"Question {number}", "longer", "short") for number in range(12)]
BODY = {"model": "a-judge", "messages": messages("Who?", "a", "b")}
KEY = "sk-canary-0123456789abcdef"


def judged_by(judge, pairs=PAIRS, remembered=None):
    return judge_pairs(pairs, judge, remembered or Remembered(), Going())


def told(judged):
    return [(one.what, one.why) for one in judged.missing()]


def nowhere():
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "then"),
    [
        (401, b"", {}, "denied", Then.NEVER),
        (403, b"", {}, "denied", Then.NEVER),
        (404, b"", {}, "not_there", Then.NEVER),
        (302, b"", {"Location": "/v1/elsewhere"}, "not_there", Then.NEVER),
        (204, b"", {}, "not_there", Then.NEVER),
        (400, answer(KEY), {}, "rejected", Then.NOT_THIS),
        (413, b"", {}, "rejected", Then.NOT_THIS),
        (408, b"", {}, "busy", Then.AGAIN),
        (429, b"", {"Retry-After": "7"}, "busy", Then.AGAIN),
        (500, b"", {}, "busy", Then.AGAIN),
        (529, b"", {}, "busy", Then.AGAIN),
        (200, b"<html>", {}, "nonsense", Then.AGAIN),
        (200, b"\xff", {}, "nonsense", Then.AGAIN),
        (200, b"[" * 100_000, {}, "nonsense", Then.AGAIN),
        (200, b"[]", {}, "nonsense", Then.AGAIN),
        (200, b'{"choices": []}', {}, "nonsense", Then.AGAIN),
        (200, b'{"choices": [{"message": null}]}', {}, "nonsense", Then.AGAIN),
        (200, answer(None), {}, "nonsense", Then.AGAIN),
        (200, answer(["A"]), {}, "nonsense", Then.AGAIN),
        (200, answer("A" * 2_000_000), {}, "nonsense", Then.AGAIN),
        (200, answer("A"), {"Content-Length": "100000"}, "unreachable", Then.AGAIN),
    ],
)
def test_what_is_no_answer_is_told_by_its_code(status, body, headers, code, then):
    trouble = lambda _number: (status, body, {**headers, "Connection": "close"})  # noqa: E731 - one line
    with judging(longer, trouble) as server, pytest.raises(Unanswered) as found:
        Endpoint(server.url, None, LOCAL, 5.0).ask(BODY)
    assert (found.value.code, found.value.then) == (code, then)
    assert found.value.wait == (7.0 if "Retry-After" in headers else 0.0)
    assert str(found.value) == code  # nothing of what was said


@pytest.mark.parametrize("asked", ["-5", "nan", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 40, "x"])
def test_a_wait_that_makes_no_sense_is_not_waited(asked):
    busy = judging(longer, lambda _number: (503, b"", {"Retry-After": asked}))
    with busy as server, pytest.raises(Unanswered) as found:
        Endpoint(server.url, None, LOCAL, 5.0).ask(BODY)
    assert found.value.wait == 0.0


def test_usage_that_makes_no_sense_is_not_believed():
    strange = {"usage": {"prompt_tokens": -1, "completion_tokens": True}}
    with judging(longer, lambda _number: (200, answer("A", **strange), {})) as server:
        reply = Endpoint(server.url, None, LOCAL, 5.0).ask(BODY)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("A", None, None)


def test_an_answer_that_drips_is_cut_by_the_clock():
    over = threading.Event()

    def drip(server):
        line, _ = server.accept()
        with line:
            line.recv(65536)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            try:
                while not over.wait(0.02):
                    line.sendall(b" ")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            with pytest.raises(Unanswered) as found:
                Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", None, LOCAL, 0.3).ask(BODY)
        finally:
            over.set()
            thread.join()
    assert (found.value.code, found.value.then) == ("timeout", Then.AGAIN)


def test_our_own_network_is_not_asked_unless_the_operator_allows_it():
    with judging(longer) as server:
        judged = judged_by(judge_at(server.url, allowed=()))
        assert not server.calls
    assert told(judged) == [("judge", f"12 of 12 pairs: {WHY['address_refused']}.")]
    assert judged.heard.failed <= 4  # one for each that asked at once; nobody tried again


def test_a_key_goes_unencrypted_to_allowed_hosts_only():
    with judging(longer) as server:
        judged_by(judge_at(server.url, key=KEY), PAIRS[:1])
        assert set(server.keys) == {f"Bearer {KEY}"}
    with pytest.raises(Unanswered, match="key_in_the_clear"):
        Endpoint("http://judge.example.org/v1", KEY, (), 1.0).ask(BODY)
    assert KEY not in repr(judge_at(server.url, key=KEY))


def test_a_judge_that_is_down_is_given_up_and_told():
    judge = judge_at(nowhere(), attempts=3, patience={"give_up": 0.05})
    judged = judged_by(judge)
    assert told(judged) == [("judge", f"12 of 12 pairs: {WHY['unreachable']}.")]
    result = judged.result("base", "file")
    assert (result.judged, result.win_rate, result.length_controlled, result.position) == (
        0,
        None,
        None,
        None,
    )


def test_draws_that_nobody_was_asked_about_are_no_win_rate_of_a_judge_that_is_down():
    same = [Pair(f"Same {number}", "equal", "equal") for number in range(6)]
    silent = judged_by(judge_at(nowhere(), attempts=1), PAIRS + same).result("base", "file")
    assert (silent.pairs, silent.judged, silent.ties, silent.win_rate) == (18, 0, 0, None)
    # But of answers that are all the same it is true
    drawn = judged_by(judge_at(nowhere()), same).result("base", "file")
    assert (drawn.judged, drawn.ties, drawn.win_rate.percent) == (6, 6, 50.0)


def test_a_judge_that_talks_nonsense_is_given_up_before_it_costs_much():
    pairs = [Pair(f"Question {number}", "longer", "short") for number in range(400)]
    with judging(longer, lambda _number: "As an AI I can't.") as server:
        judge = judge_at(server.url, patience={"give_up": 0.5, "first_wait": 0.1, "longest_wait": 1.0})
        judged = judged_by(judge, pairs)
        assert len(server.calls) < 40
    assert told(judged) == [("judge", f"400 of 400 pairs: {WHY['nonsense']}.")]


def test_a_judge_that_rejects_everything_is_not_asked_for_ever():
    with judging(longer, lambda _number: (400, b"", {})) as server:
        judged = judged_by(judge_at(server.url), PAIRS)
        assert len(server.calls) < 24
    assert told(judged) == [("judge", f"12 of 12 pairs: {WHY['rejected']}.")]


def test_a_judge_that_rejects_many_but_has_answered_is_asked_on():
    reject = lambda number: (400, b"", {}) if 3 <= number <= 14 else ""  # noqa: E731 - one line
    with judging(longer, reject) as server:
        judged_by(judge_at(server.url, concurrency=1))
        assert len(server.calls) == 24


def test_patience_begins_anew_with_each_answer():
    def slow(first, second):
        time.sleep(0.005)  # so that patience would be over, were it counted from the first failure
        return longer(first, second)

    fail = lambda number: (500, b"", {}) if number in {1, 20} else ""  # noqa: E731 - one line
    with judging(slow, fail) as server:
        judged = judged_by(judge_at(server.url, concurrency=1, patience={"give_up": 0.05}))
    assert None not in judged.wins()


def test_a_judge_that_thinks_for_ever_costs_only_what_it_did_not_answer():
    let_go = threading.Event()

    def trouble(number):
        if number > 4:
            let_go.wait(60)
        return ""

    with judging(longer, trouble) as server:
        judged = judged_by(judge_at(server.url, concurrency=1, patience={"limit": 0.5}))
        let_go.set()
    answered = 12 - judged.wins().count(None)
    assert answered <= 2
    assert told(judged)[0] == ("judge", f"{12 - answered} of 12 pairs: {WHY['out_of_time']}.")


def test_what_nobody_foresaw_is_told_and_ends_nothing(capsys):
    class Surprising(Endpoint):
        def ask(self, _body):
            raise ZeroDivisionError

    judge = judge_at("https://judge.example/v1")
    judged = judged_by(replace(judge, endpoint=Surprising("", None, (), 1.0)), PAIRS[:2])
    assert told(judged) == [("judge", f"2 of 2 pairs: {WHY['unforeseen']}.")]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_closed_door_is_knocked_at_once():
    with judging(longer, lambda _number: (401, b"", {})) as server:
        judged = judged_by(judge_at(server.url, key=KEY, concurrency=1))
        assert len(server.calls) == 1
    assert told(judged) == [("judge", f"12 of 12 pairs: {WHY['denied']}.")]


@pytest.mark.parametrize("shown_first", ["longer", "short"])
def test_a_pair_that_is_half_answered_does_not_count(shown_first):
    # Given a judge that rejects one question of the second pair
    def trouble(_number):
        asked = server.calls[-1]["messages"][1]["content"]
        this = "Question 1\n" in asked and re.search(rf"<answer-a-\w+>\n{shown_first}\n", asked)
        return (400, b"", {}) if this else ""

    with judging(longer, trouble) as server:
        judged = judged_by(judge_at(server.url, concurrency=1), PAIRS[:3])
    assert judged.wins() == [1.0, None, 1.0]
    assert told(judged)[0] == ("judge", f"1 of 3 pairs: {WHY['rejected']}.")
    result = judged.result("base", "file")
    assert (result.pairs, result.judged, result.wins) == (3, 2, 2)


def test_everybody_waits_as_long_as_the_endpoint_asks():
    said_at = []

    def trouble(number):
        said_at.append(time.monotonic())
        return (429, b"", {"Retry-After": "0.3"}) if number == 1 else ""

    with judging(longer, trouble) as server:
        judged = judged_by(judge_at(server.url, concurrency=1), PAIRS[:2])
    assert said_at[1] - said_at[0] >= 0.3
    assert not [one for one in judged.missing() if one.what == "judge"]


def test_a_failure_is_not_remembered_and_is_asked_again(tmp_path):
    path = tmp_path / "known.jsonl"
    with judging(longer, lambda number: (400, b"", {}) if number == 3 else "") as server:
        judge = judge_at(server.url, concurrency=1)
        first = judged_by(judge, PAIRS[:4], Remembered(path))
        second = judged_by(judge, PAIRS[:4], Remembered(path))
        assert len(server.calls) == 9
    assert first.wins().count(None) == 1
    assert second.wins() == [1.0] * 4


def test_a_line_that_was_cut_by_a_crash_is_the_only_one_lost(tmp_path):
    path = tmp_path / "known.jsonl"
    remembered = Remembered(path)
    remembered.keep("one", Known(1.0, 10, 1))
    remembered.keep("two", Known(0.5))
    path.write_bytes(path.read_bytes()[:-20])
    Remembered(path).keep("three", Known(0.0))
    again = Remembered(path)
    assert (again.get("one"), again.get("two"), again.get("three")) == (Known(1.0, 10, 1), None, Known(0.0))


@pytest.mark.parametrize(
    "line", ["{}", "[]", "1", '{"key": 1, "share": 1}', '{"key": "k", "share": 0.7}', "\x00"]
)
def test_a_line_that_is_no_answer_is_not_believed(tmp_path, line):
    path = tmp_path / "known.jsonl"
    path.write_text(line + "\n")
    assert Remembered(path).get("k") is None
