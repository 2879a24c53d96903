"""What a judge has said is laid out with the parts of its evaluation, whole, under the next number."""

import json

import pytest

from neftune_core.evaluate.judge.saving import EVERY_SECONDS, Saving
from neftune_core.evaluate.parts import Parts
from tests.core.tiny import Notebook

BELONGING = {"spec": "this one"}


@pytest.fixture
def out(tmp_path):
    """An evaluation with one part done, and answers of a judge."""
    parts = Parts(tmp_path, BELONGING)
    parts.keep("losses", {"loss": 1.0})
    parts.lay_out()
    (tmp_path / "known.jsonl").write_text('{"key": "a"}\n')
    return tmp_path


def test_who_takes_over_has_parts_and_answers(out, tmp_path_factory):
    notebook = Notebook()
    saving = Saving(out, out / "known.jsonl", notebook)
    saving.now()
    (out / "known.jsonl").write_text('{"key": "a"}\n{"key": "b"}\n')
    saving.now()
    assert [step for step, _ in notebook.checkpoints] == [2, 3]
    # Only the newest is there, as the evaluation itself keeps it
    (folder,) = (out / "checkpoints").iterdir()
    assert folder == notebook.checkpoints[-1][1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    folder.rename(elsewhere / "moved")
    (elsewhere / "checkpoints").mkdir()
    (elsewhere / "moved").rename(elsewhere / "checkpoints" / folder.name)
    again = Parts(elsewhere, BELONGING)
    assert again.done("losses") == {"loss": 1.0}
    assert (elsewhere / "parts" / "judge_answers.jsonl").read_text() == '{"key": "a"}\n{"key": "b"}\n'
    assert again.lay_out()[0] == 4


def test_it_is_saved_when_time_has_passed_and_not_before(out):
    notebook, now = Notebook(), [100.0]
    saving = Saving(out, out / "known.jsonl", notebook, lambda: now[0])
    saving.if_due()
    assert notebook.checkpoints == []
    now[0] += EVERY_SECONDS
    saving.if_due()
    saving.if_due()
    assert len(notebook.checkpoints) == 1


def test_a_folder_without_parts_is_left_alone(tmp_path):
    (tmp_path / "known.jsonl").write_text("{}\n")
    notebook = Notebook()
    Saving(tmp_path, tmp_path / "known.jsonl", notebook).now()
    assert notebook.checkpoints == []
    assert json.loads((tmp_path / "known.jsonl").read_text()) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["known.jsonl"]
