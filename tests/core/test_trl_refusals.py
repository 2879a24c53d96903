"""What ExactNEFTune refuses in other people's scripts, for it would be another noise."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer

from neftune_core.errors import NeftuneMisapplied, SpecError
from neftune_core.trl import ExactNEFTune
from tests.core.sft import ROWS, flattening, sft, tiny_model

# TRL, datasets and transformers warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("theirs", [5.0, 0.0])
def test_the_trainers_own_noise_is_refused_before_anything_is_hooked(theirs):
    with pytest.raises(NeftuneMisapplied, match="neftune_noise_alpha is set"):
        sft(ROWS, ExactNEFTune(alpha=5), neftune_noise_alpha=theirs)


def test_the_trainers_own_noise_is_refused_where_the_callback_comes_late():
    trainer = sft(ROWS, neftune_noise_alpha=5.0)
    trainer.add_callback(ExactNEFTune(alpha=0))

    with pytest.raises(NeftuneMisapplied, match="neftune_noise_alpha is set"):
        trainer.train()


def test_the_libraries_hook_left_behind_is_refused_for_a_control_run_too():
    from transformers.integrations.neftune import activate_neftune  # noqa: PLC0415 - one test's

    model = tiny_model()
    activate_neftune(model, 5.0)

    for alpha in (0, 5):
        with pytest.raises(NeftuneMisapplied):
            sft(ROWS, ExactNEFTune(alpha), model=model).train()


@pytest.mark.parametrize("same", [True, False])
def test_a_second_one_is_refused(same):
    exact = ExactNEFTune(alpha=5)

    with pytest.raises(NeftuneMisapplied, match="already carries noise"):
        sft(ROWS, exact, exact if same else ExactNEFTune(alpha=3)).train()


def test_wrapped_packing_is_refused_and_allowed_without_noise():
    how = {"packing": True, "packing_strategy": "wrapped", "max_length": 32}

    with pytest.raises(NeftuneMisapplied, match="wrapped"):
        sft(ROWS, ExactNEFTune(alpha=5), **how)
    sft(ROWS, ExactNEFTune(alpha=0), **how).train()
    late = sft(ROWS, **how)
    late.add_callback(ExactNEFTune(alpha=5))
    with pytest.raises(NeftuneMisapplied, match="wrapped"):
        late.train()


def test_packed_rows_whose_collator_forgets_the_examples_are_refused():
    def forgetful(features):
        ids = torch.tensor([feature["input_ids"][:8] for feature in features])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    trainer = sft(ROWS, ExactNEFTune(alpha=5), trainer=Trainer, collator=forgetful, packing=True)

    with pytest.raises(NeftuneMisapplied, match="tells no examples apart"):
        trainer.train()


def test_a_batch_that_tells_no_lengths_is_refused():
    def bare(features):
        ids = torch.tensor([feature["input_ids"][:8] for feature in features])
        return {"input_ids": ids, "labels": ids}

    with pytest.raises(NeftuneMisapplied, match="tells no lengths"):
        sft(ROWS, ExactNEFTune(alpha=5), trainer=Trainer, collator=bare).train()


def test_embeddings_in_place_of_tokens_are_refused():
    model = tiny_model()
    table = model.get_input_embeddings().weight.detach()

    def embedded(features):
        ids = torch.tensor([feature["input_ids"][:8] for feature in features])
        return {"inputs_embeds": table[ids], "attention_mask": torch.ones_like(ids), "labels": ids}

    with pytest.raises(NeftuneMisapplied, match="inputs_embeds"):
        sft(ROWS, ExactNEFTune(alpha=5), model=model, trainer=Trainer, collator=embedded).train()


def test_a_model_that_passes_its_embedding_by_is_found_out():
    model = tiny_model()
    table = model.get_input_embeddings().weight
    plain = model.model.forward

    def by(input_ids, inputs_embeds=None, **more):
        return plain(inputs_embeds=table[input_ids], **more)

    model.model.forward = by

    with pytest.raises(NeftuneMisapplied, match="0 times"):
        sft(ROWS, ExactNEFTune(alpha=5), model=model, trainer=Trainer, collator=flattening()).train()


def test_several_gpus_in_threads_are_refused():
    args = SimpleNamespace(neftune_noise_alpha=None, packing=False, n_gpu=2)

    with pytest.raises(NeftuneMisapplied, match="DataParallel"):
        ExactNEFTune(alpha=5).on_init_end(args, None, None)
    ExactNEFTune(alpha=0).on_init_end(args, None, None)


def test_a_loop_that_trains_another_model_is_found_out():
    exact, state = ExactNEFTune(alpha=5), SimpleNamespace(epoch=0.0)
    exact.on_train_begin(SimpleNamespace(n_gpu=1), state, None, model=tiny_model())
    exact.on_epoch_begin(None, state, None)
    exact.on_step_begin(None, state, None)

    with pytest.raises(NeftuneMisapplied, match="without a noised pass"):
        exact.on_pre_optimizer_step(None, state, None)
    exact.detach()


def test_a_model_called_without_names_is_refused():
    exact, state, model = ExactNEFTune(alpha=5), SimpleNamespace(epoch=0.0), tiny_model().train()
    exact.on_train_begin(SimpleNamespace(n_gpu=1), state, None, model=model)
    exact.on_epoch_begin(None, state, None)
    exact.on_step_begin(None, state, None)

    with pytest.raises(NeftuneMisapplied, match="without names"):
        model(torch.tensor([ROWS[0]]))
    exact.detach()


@pytest.mark.parametrize("alpha", [-1.0, math.nan, 1e6])
def test_an_alpha_that_cannot_be_meant_is_refused(alpha):
    with pytest.raises(SpecError):
        ExactNEFTune(alpha=alpha)
