"""The command line of judging, as a process: what it says, what it leaves, how it is stopped."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from neftune_core import messages
from neftune_core.__main__ import main
from neftune_core.evaluate.judge.alpaca_eval import read_annotations, write_json
from neftune_core.evaluate.judge.command import parser
from neftune_core.evaluate.judge.files import ANSWERS
from neftune_core.evaluate.spec import EvaluationSpec
from tests.core.evaluate.judges import judging, longer
from tests.standalone.processes import eventually

KEY = "sk-canary-0123456789abcdef"
PAGE = Path(__file__).parents[3] / "docs" / "judge.md"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@pytest.fixture
def files(tmp_path):
    """Answers of two models to the same 20 instructions; ours are mostly longer."""
    drawn = random.Random(5)
    for name, longest in (("ours", 90), ("theirs", 60)):
        answers = [
            {
                "instruction": f"Question {number}",
                "output": "x" * drawn.randrange(1, longest),
                "generator": name,
            }
            for number in range(20)
        ]
        write_json(tmp_path / f"{name}.json", answers)
    return tmp_path


def words(files, url, *more):
    named = [
        files / "ours.json",
        files / "theirs.json",
        files / "out",
        "--endpoint",
        url,
        "--model",
        "a-judge",
    ]
    return ["evaluate", "judge", *map(str, named), "--allow", "127.0.0.1", *map(str, more)]


def start(*arguments, environment=ENVIRONMENT, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "neftune_core", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_answers_are_judged_and_written_as_alpaca_eval_keeps_them(files, capfd, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with judging(longer) as server:
        assert main(words(files, server.url, "--key-env", "JUDGE_KEY")) == 0
        assert set(server.keys) == {f"Bearer {KEY}"}
        assert {call["path"] for call in server.calls} == {"/v1/chat/completions"}
    said, log = capfd.readouterr()
    found = json.loads(said)
    assert found == json.loads((files / "out/judge.json").read_text())
    assert found["judge"]["judged"] == 20
    assert found["missing"] == []
    kept = json.loads((files / "out/judge_annotations.json").read_text())
    assert {(one["generator_1"], one["generator_2"], one["annotator"]) for one in kept} == {
        ("theirs", "ours", "a-judge")
    }
    wins = [one.win for one in read_annotations(files / "out/judge_annotations.json")]
    assert found["judge"]["win_rate"]["percent"] == pytest.approx(100 * sum(wins) / 20)
    everything = said + log + "".join(path.read_text() for path in (files / "out").iterdir())
    assert KEY not in everything


def test_the_estimate_asks_nobody_and_leaves_nothing(files, capsys):
    with judging(longer) as server:
        prices = ["--estimate", "--price-in", 2.5, "--price-out", 10, "--most", 5]
        assert main(words(files, server.url, *prices)) == 0
        assert not server.calls
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["calls"], told["cached"]) == (5, 10, 0)
    assert 0 < told["price"] < told["price_at_most"]
    assert not (files / "out").exists()


def test_the_key_comes_on_a_pipe_and_a_supervisor_hears_how_it_goes(files):
    reads, writes = os.pipe()
    key_reads, key_writes = os.pipe()
    os.write(key_writes, KEY.encode() + b"\n")
    os.close(key_writes)
    with judging(longer) as server:
        fds = ["--key-fd", key_reads, "--report-fd", writes]
        process = start(*words(files, server.url, *fds), pass_fds=[key_reads, writes])
        os.close(key_reads)
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            heard = [messages.decode(line) for line in pipe]
        process.communicate()
        assert set(server.keys) == {f"Bearer {KEY}"}
    assert process.returncode == messages.EXIT_OK
    events = [(one.name, one.data) for one in heard if isinstance(one, messages.Event)]
    assert (events[0][0], events[0][1]["calls"]) == ("judge.estimated", 40)
    assert events[-1] == ("judge.progressed", {"what": "judge", "answered": 40, "of": 40})
    assert [one.path for one in heard if isinstance(one, messages.Artifact)] == [
        *("judge_annotations.json", "judge.json"),
    ]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, messages.EXIT_STOPPED), (signal.SIGKILL, -9)]
)
def test_who_was_stopped_goes_on_where_it_was(files, number, status):
    # Given a judge that answers ten times and then thinks until it is let go
    reached, let_go = threading.Event(), threading.Event()

    def trouble(call):
        if call > 10:
            reached.set()
            let_go.wait(60)
        return ""

    with judging(longer, trouble) as server:
        process = start(*words(files, server.url, "--concurrency", 1))
        assert reached.wait(60)
        # When the process is stopped there, with the ten in its file: who hears them is not who asks on
        assert eventually(lambda: (files / "out" / ANSWERS).read_bytes().count(b'"key"') == 10, 60)
        process.send_signal(number)
        process.communicate()
        let_go.set()
        assert process.returncode == status
        assert not (files / "out/judge.json").exists()
        before = len(server.calls)
        # Then the next one asks only what is not known
        assert main(words(files, server.url)) == 0
        found = json.loads((files / "out/judge.json").read_text())
    assert before == 11
    assert len(server.calls) - before == 30
    assert (found["judge"]["judged"], found["judge"]["cost"]["cached"]) == (20, 10)


def test_a_judge_that_is_down_fails_nothing(files, capsys):
    assert main(words(files, "http://127.0.0.1:1/v1", "--give-up", 0)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["judge"]["win_rate"] is None
    assert found["missing"] == [{"what": "judge", "why": "20 of 20 pairs: the connection failed."}]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--endpoint", "ftp://judge.example/v1"], "endpoint: "),
        (["--endpoint", "https://user:word@judge.example/v1"], "endpoint: "),
        (["--endpoint", "https://judge.example:99999/v1"], "endpoint: "),
        (["--endpoint", "https://[::1/v1"], "endpoint: "),
        (["--endpoint", "https://:443/v1"], "endpoint: "),
        (["--attempts", "0"], "attempts: "),
        (["--key-env", "NOT_THERE"], "key should be one word"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(files, capsys, more, told):
    assert main(words(files, "https://judge.example/v1", *more)) == 1
    log = capsys.readouterr().err
    assert "invalid_spec" in log
    assert told in log
    assert "user:word" not in log


def test_answers_without_a_counterpart_are_told(files, capsys):
    write_json(files / "theirs.json", json.loads((files / "theirs.json").read_text())[:15])
    with judging(longer) as server:
        assert main(words(files, server.url)) == 0
    missing = json.loads(capsys.readouterr().out)["missing"]
    assert {"what": "judge", "why": "5 answers have no counterpart."} in missing


def test_win_rates_of_preferences_that_are_there(tmp_path, capsys):
    preferences = [2, 2, 1, 0]
    entry = {"instruction": "a", "output_1": "theirs", "output_2": "ours"}
    write_json(tmp_path / "a.json", [{**entry, "preference": one} for one in [*preferences, None]])
    assert main(["evaluate", "win-rate", str(tmp_path / "a.json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["judged"], told["wins"], told["losses"], told["ties"]) == (5, 4, 2, 1, 1)
    assert told["win_rate"]["percent"] == 62.5
    assert told["length_controlled"] is None


def test_a_file_that_is_another_is_told(tmp_path, capsys):
    (tmp_path / "a.json").write_text('{"secret": "text"}')
    assert main(["evaluate", "win-rate", str(tmp_path / "a.json")]) == 1
    assert capsys.readouterr().err == "alpaca_eval_invalid: a.json: should be a JSON list of objects.\n"


def test_what_the_page_says_is_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judged").mkdir()
    for name in ("ours.json", "theirs.json", "judged/judge_annotations.json"):
        (tmp_path / name).write_text("[]")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert len(lines) == 6
    for line in lines:
        start, words = line.split("evaluate ", 1)
        assert start == "python -m neftune_core "
        parser().parse_args(shlex.split(words))


def test_the_pages_script_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    with judging(longer) as server:
        here = script.replace("https://judge.example/v1", server.url).replace(
            "allowed=()", 'allowed=["127.0.0.1"]'
        )
        exec(here, {})
        assert len(server.calls) == 2
    assert capsys.readouterr().out.startswith("2\npercent=100.0")


def test_the_pages_evaluation_is_one():
    asked = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert EvaluationSpec.model_validate_json(asked).judge.key.secret == "judge_key"
