"""What a run that goes on knows of the one before: all that was saved, in a folder of its own."""

import shutil
from dataclasses import replace

import pytest

from neftune_core import progress
from neftune_core.tokenise import Prepared
from neftune_core.walk import Walk
from tests.core.test_batches import make_examples
from tests.core.test_resume import begin, spec_of
from tests.core.tiny import make_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


class Enough(Exception):
    """What the test wanted to see has been seen."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def test_a_walk_remembers_all_that_another_one_told(base, tmp_path, monkeypatch):
    # Given a saved walk whose every part is something that no walk begins with
    spec = spec_of(training={"max_steps": 3, "early_stop": {"patience": 4}})
    begin(base, tmp_path, spec, 2)
    changed = {
        "tokens": 11,
        "ended": True,
        "untold": {"train_loss": 1.5},
        "final": {"base_eval_loss": 4.5, "train_loss": 2.5},
        "skips": {"in_a_row": 2, "skipped": 3},
        "early": {"best": 1.25, "since": 3},
        "noise": {"facts": {"alpha": 7.0}, "check": None},
        "best": {"step": 1, "eval_loss": 1.25},
        "arrangement": {
            **{"micro_batch_size": 3, "pad_id": 4, "rows": "left", "row_tokens": 5},
            **{"in_order": True, "target": "prompt"},
        },
    }
    told = []
    go_on = Walk.go_on

    def watched(walk, state, best):
        assert state.keys() == {*changed, "number", "resumed"}
        assert all(state[name] != value for name, value in changed.items())
        go_on(walk, {**state, **changed}, best)
        told.append(walk.state())
        raise Enough

    monkeypatch.setattr(Walk, "go_on", watched)
    with pytest.raises(Enough):
        begin(base, tmp_path, spec, resume=True)

    assert told == [{"number": 2, "resumed": [2], **changed}]


def test_the_best_weights_come_with_the_checkpoint_into_another_folder(base, tmp_path):
    """A run that goes on elsewhere, after its best step, reports of that step what it would have."""
    training = {"max_steps": 2, "batch_size": 8, "eval_every": 1, "learning_rate": 0.1}
    spec = spec_of(training={**training, "scheduler": "constant"})  # too fast to stay at its best
    whole = begin(base, tmp_path / "whole", spec, checkpoints=False).outcome.final

    begin(base, tmp_path / "here", spec, 1)
    shutil.copytree(tmp_path / "here" / "checkpoints", tmp_path / "there" / "checkpoints")
    went_on = begin(base, tmp_path / "there", spec, resume=True)

    assert whole["best_step"] == 1
    assert whole["best_clean_train_loss"] != whole["last_clean_train_loss"]
    assert went_on.outcome.final == whole


@pytest.mark.parametrize("what", ["ids", "trained", "response", "key", "row"])
def test_examples_are_others_when_anything_of_them_is(what):
    first, *others = make_examples(4)
    value = getattr(first, what)
    changed = value + 1 if what in {"ids", "key", "row"} else ~value

    digests = {
        progress._digest_of_examples(Prepared((example, *others), 0, 0, 0))
        for example in (first, replace(first, **{what: changed}))
    }

    assert len(digests) == 2
