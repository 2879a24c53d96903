"""docs/evaluation.md tells each field of EvaluationSpec with its default, and no other."""

import re
from pathlib import Path

from neftune_core.evaluate.judge_spec import JudgeSpec
from neftune_core.evaluate.spec import EvaluationSpec
from tests.frame.test_jobspec_doc import ROW, fields

DOC = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")


def test_every_field_and_its_default_is_told():
    told = {name: default or required for name, default, required in ROW.findall(DOC)}
    judge = {f"judge.{name}": default for name, default in fields(JudgeSpec)}
    assert told == {**dict(fields(EvaluationSpec)), **judge}


def test_the_example_is_an_evaluation():
    example = re.search(r"```json\n(.*?)```", DOC, re.S)
    assert EvaluationSpec.model_validate_json(example[1]).asked() == ("loss", "overlap", "diversity")
