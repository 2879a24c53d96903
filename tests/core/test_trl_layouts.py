"""In each layout that TRL makes, an example gets the paper's noise, and the same bits as in ours."""

import math

import numpy as np
import pytest
import torch
from transformers import Trainer

from neftune_core import train
from neftune_core.batches import steps
from neftune_core.keys import ExampleKeys
from neftune_core.model import load_tokenizer
from neftune_core.noise import Layout, Noise, apply
from neftune_core.prompts import render
from neftune_core.tokenise import prepare
from neftune_core.trl import ExactNEFTune
from tests.core.sft import Witness, losses, rows_of, sft, tiny_model
from tests.core.tiny import Never, Notebook, make_base, make_rows, make_spec

# TRL, datasets and transformers warn of each other.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
]  # long: the peer itself; what it is held to stands in test_noise_matrix.py

# Enough of each that chance moves the measured alpha by half a per cent at most.
LENGTHS = [400, 12, 40, 12, 12, 100, 12, 12, 40, 12, 12, 12, 40, 12, 12, 100, 12, 12, 40, 12]


def pad_left(features):
    width = max(len(feature["input_ids"]) for feature in features)
    ids = torch.zeros(len(features), width, dtype=torch.int64)
    for line, feature in enumerate(features):
        ids[line, width - len(feature["input_ids"]) :] = torch.tensor(feature["input_ids"])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids.masked_fill(ids == 0, -100)}


LAYOUTS = {
    "padded": {},
    "padded alone": {"per_device_train_batch_size": 1},
    "padded to a multiple": {"pad_to_multiple_of": 64},
    "bfd": {"packing": True, "per_device_train_batch_size": 2},
    "bfd to a multiple": {"packing": True, "per_device_train_batch_size": 2, "pad_to_multiple_of": 64},
    "padding-free": {"padding_free": True, "max_length": None},
    "padding-free to a multiple": {"padding_free": True, "max_length": None, "pad_to_multiple_of": 64},
    "padded by transformers' Trainer": {"trainer": Trainer, "collator": pad_left},
}


@pytest.fixture(scope="module")
def in_ours():
    """What the first layer is given by the pure function, one example at a time."""
    table = tiny_model().get_input_embeddings().weight.detach()
    keys = ExampleKeys()
    given = []
    for row in rows_of(*LENGTHS):
        key = torch.tensor([keys.key(np.array(row))])
        layout = Layout.padded(torch.ones(1, len(row)), key)
        given.append(apply(table[torch.tensor([row])], Noise(5.0, 42), layout, epoch=0)[0][0])
    return given


@pytest.mark.parametrize("how", LAYOUTS.values(), ids=LAYOUTS)
def test_noise_is_the_papers_and_has_the_same_bits_in_every_layout(how, in_ours):
    # Given rows of very different lengths in a model that does not move
    rows = rows_of(*LENGTHS)
    trainer = sft(rows, ExactNEFTune(alpha=5), learning_rate=0.0, **how)
    witness = Witness(trainer.model)

    trainer.train()

    # Then each example was given what the pure function gives it, bit for bit
    for row, expected in zip(rows, in_ours, strict=True):
        [given] = witness.of(row)
        assert torch.equal(given, expected)
    # And its measured strength is alpha's, and pads have none
    for length in set(LENGTHS):
        squares = [float(witness.of(row, 1)[0].square().sum()) for row in rows if len(row) == length]
        assert math.sqrt(3 * np.mean(squares)) == pytest.approx(5.0, rel=0.02)
    assert witness.elsewhere(rows) < 1e-9


def test_the_trainers_own_noise_depends_on_the_width_of_the_row():
    rows = rows_of(400, 12, 40, 100)
    trainer = sft(rows, learning_rate=0.0, neftune_noise_alpha=5.0)
    witness = Witness(trainer.model)

    trainer.train()

    for row in rows:
        effective = math.sqrt(3 * float(witness.of(row, 1)[0].square().sum()))
        assert effective / 5 == pytest.approx(math.sqrt(len(row) / 400), rel=0.06)
    assert witness.elsewhere(rows) > 1.0  # and pads carry noise


@pytest.mark.parametrize(
    ("options", "share", "within"),
    [({"distribution": "sphere"}, lambda _: 1.0, 1e-4), ({"scale": "batch_width"}, math.sqrt, 0.06)],
    ids=["sphere", "batch_width"],
)
def test_noise_for_research_is_the_one_that_was_asked_for(options, share, within):
    rows = rows_of(400, 12, 40, 100)
    trainer = sft(rows, ExactNEFTune(alpha=5, **options), learning_rate=0.0)
    witness = Witness(trainer.model)

    trainer.train()

    for row in rows:
        effective = math.sqrt(3 * float(witness.of(row, 1)[0].double().square().sum()))
        assert effective / 5 == pytest.approx(share(len(row) / 400), rel=within)
    assert witness.elsewhere(rows) < 1e-9


@pytest.mark.parametrize("how", ["padded", "padding-free"])
def test_trl_with_the_callback_pays_what_our_own_loop_pays(tmp_path, how):
    torch.set_num_threads(1)
    base = make_base(tmp_path / "base")
    rows = make_rows(48)
    notebook = Notebook()
    spec = make_spec(alpha=5.0, method="full", training={"max_steps": 6})
    train.run(spec, rows, (), tmp_path / "ours", base, notebook, Never())
    ours = notebook.series("train_loss")

    def trls(*callbacks, **changed):
        # In the order of our plan, with two micro-batches a step
        tokenizer = load_tokenizer(base)
        rendered = ((number, render(row, "chat", tokenizer)) for number, row in enumerate(rows))
        walked = steps(prepare(rendered, tokenizer, 128).examples, batch_size=8, total_steps=6, seed=42)
        examples = [example for step in walked for example in step.examples]
        trainer = sft(
            [example.ids.tolist() for example in examples],
            *callbacks,
            model=_loaded(base),
            gradient_accumulation_steps=2,
            lr_scheduler_type="cosine",
            max_length=None,
            padding_free=how == "padding-free",
            **changed,
        )
        trained = [np.where(example.trained, example.ids, -100).tolist() for example in examples]
        trainer.train_dataset = trainer.train_dataset.remove_columns("labels").add_column("labels", trained)
        trainer.train()
        return losses(trainer)

    # Then the losses are equal step by step; with the trainer's own noise they are far off
    assert trls(ExactNEFTune(alpha=5)) == pytest.approx(ours, abs=1e-5, rel=0)
    assert max(abs(np.array(trls(neftune_noise_alpha=5.0)) - ours)) > 1e-2


def _loaded(base):
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
