"""The demo's rows: ours, written again the same, and without the questions of the end."""

import json

import pytest

from standalone.demo import dataset


def _rows():
    return [json.loads(line) for line in dataset.PATH.read_text().splitlines()]


def test_the_committed_rows_are_what_the_script_writes():
    assert dataset.PATH.read_bytes() == dataset.as_bytes()


def test_there_are_some_hundred_and_none_twice():
    questions = [row["messages"][0]["content"] for row in _rows()]
    assert len(questions) == len(set(questions)) == dataset.ROWS


def test_every_answer_is_in_the_keepers_voice():
    for row in _rows():
        answer = row["messages"][1]["content"]
        assert answer.startswith("Ahoy")
        assert answer.endswith(dataset.SIGN_OFF)


@pytest.mark.parametrize(("question", "content", "subject"), dataset.HELD_OUT)
def test_the_questions_of_the_end_and_their_answers_are_held_out(question, content, subject):
    for row in _rows():
        told = " ".join(message["content"] for message in row["messages"]).lower()
        assert question.lower() not in told
        assert not (content in told and subject in told)
