"""Overlap equals what the two libraries' own command lines say of the same texts."""

import csv
import json
import subprocess
import sys

import pytest

from neftune_core.evaluate.overlap import overlap_of
from tests.core.rows_made import real_file


def command(*arguments, **more):
    return subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True, **more
    ).stdout


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Give real answers, real references, and a file of each, a text on a line."""
    folder = tmp_path_factory.mktemp("lines")
    texts = []
    for model, said in (("alpaca_7b", "a cat, and a dog"), ("text_davinci_003", "the cat and a mouse")):
        made = [{"output": " ".join([said] * count)} for count in range(1, 9)]
        rows = json.loads(real_file(f"alpaca_eval_{model}.json", made))[:40]
        lines = [" ".join(row["output"].split()) for row in rows]
        (folder / model).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        texts.append((lines, folder / model))
    return texts


def test_rouge_is_that_of_its_own_command_line(pairs, tmp_path):
    (answers, answers_file), (references, references_file) = pairs
    command(
        *("-W", "ignore", "-m", "rouge_score.rouge", "--rouge_types=rougeL", "--noaggregate"),
        f"--target_filepattern={references_file}",
        f"--prediction_filepattern={answers_file}",
        f"--output_filename={tmp_path / 'scores.csv'}",
    )
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = overlap_of(answers, references, subject="checkpoint").rouge_l
    for name, value in (("P", found.precision), ("R", found.recall), ("F", found.f1)):
        theirs = [float(row[f"rougeL-{name}"]) for row in rows]
        assert len(theirs) == len(answers)
        assert value == pytest.approx(sum(theirs) / len(theirs), abs=1e-6)


def test_bleu_is_that_of_its_own_command_line(pairs):
    (answers, answers_file), (references, references_file) = pairs
    told = json.loads(command("-m", "sacrebleu", str(references_file), "-i", str(answers_file), "-w", "6"))
    found = overlap_of(answers, references, subject="checkpoint").bleu
    assert found.score == pytest.approx(told["score"], abs=1e-6)
    assert (found.signature, found.answer_words) == (told["signature"], answered(told))


def answered(told):
    """Read how many words it counted in the answers: ``(BP = 1.000 ratio = 1.1 hyp_len = 9 ref_len = 8)``."""
    return int(told["verbose_score"].partition("hyp_len = ")[2].split()[0])


def test_an_answer_that_is_the_reference_is_told_apart():
    found = overlap_of(["the cat sat on the mat", "no"], ["the cat  sat on the mat", "yes"], subject="base")
    assert found.identical == 1
    assert found.rouge_l.f1 == pytest.approx(0.5)
