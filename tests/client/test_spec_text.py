"""A spec as people write it: YAML as they mean it, JSON as it is, and fields set by their path."""

from pathlib import Path

import pytest

from neftune_client.cli.spec_text import assign, read
from neftune_client.errors import BadInput

YAML = """
model: org/base   # a comment
alpha: 5
training: {packing: off, learning_rate: 2e-4, epochs: 1.5, max_steps: null, gradient_checkpointing: true}
tags: [yes, 2026-11-21, "007", 010]
name: ~
metadata: {on: no}
"""


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_yaml_says_what_it_seems_to_say(tmp_path: Path) -> None:
    assert read(written(tmp_path, "job.yaml", YAML)) == {
        "model": "org/base",
        "alpha": 5,
        "training": {
            "packing": "off", "learning_rate": 2e-4, "epochs": 1.5, "max_steps": None,
            "gradient_checkpointing": True,
        },
        "tags": ["yes", "2026-11-21", "007", "010"],
        "name": None,
        "metadata": {"on": "no"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.json", '{"alpha": 5, "alpha": 6}', "a field is given twice"),
        ("a.json", '{"alpha": NaN}', "NaN is no number"),
        ("a.json", "alpha: 5", "is no JSON"),
        ("a.json", "[]", "must hold one object"),
        ("a.json", " " * 70_000, "larger than a spec"),
        ("a.yaml", "alpha: 5\nalpha: 6", "a field is given twice"),
        ("a.yaml", "alpha: [", "is no YAML"),
        ("a.yaml", "alpha: !!python/object:os.system {}", "is no YAML"),
        ("a.yaml", "just words", "must hold one object"),
    ],
)
def test_what_is_no_spec_is_refused_with_its_name(tmp_path: Path, name: str, text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        read(written(tmp_path, name, text))
    assert name in str(refused.value)


def test_fields_are_set_by_their_path() -> None:
    given = {"training": {"seed": 1, "epochs": 3}}
    words = [
        "training.epochs=1",
        "training.packing=off",
        "lora.r=8",
        'tags=["a"]',
        "name=1 fish",
        "revision=null",
    ]
    assert assign(given, words) == {
        "training": {"seed": 1, "epochs": 1, "packing": "off"},
        "lora": {"r": 8},
        "tags": ["a"],
        "name": "1 fish",
        "revision": None,
    }
    assert given == {"training": {"seed": 1, "epochs": 3}}
    assert assign({}, ["alpha=NaN"]) == {"alpha": "NaN"}, "the service says what is wrong with it"


@pytest.mark.parametrize("word", ["alpha", "=5", "training.=1", "model.x=1"])
def test_what_is_no_assignment_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match="--set"):
        assign({"model": "org/base"}, [word])
