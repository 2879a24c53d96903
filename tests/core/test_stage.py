"""One base and its adapters: each answers as it does alone, and the base as if there were none."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import save_file

from neftune_core.decoding import Decoding
from neftune_core.errors import NeftuneMisapplied, PromptTooLong
from neftune_core.generation_lines import Answer, Choosing, Put, Turn
from neftune_core.model import Numerics, load_base, make_trainable
from neftune_core.noise import Noise, noisy_embeddings
from neftune_core.rows import Message
from neftune_core.speaking import prompt_of, speak
from neftune_core.spec import JobSpec
from neftune_core.stage import MOST_ADAPTERS, Stage
from neftune_core.training_state import weights_of
from tests.core.tiny import make_base

CPU = torch.device("cpu")
NUMERICS = Numerics(CPU, torch.float32, autocast=False, quantization=None)
ASKED = (Turn("user", "count to 3"),)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


def spec(method="lora", **lora):
    return JobSpec.model_validate(
        {"model": "org/base", "dataset": "ds_x", "method": method, "lora": {**LORA, **lora}}
    )


def trained(base, seed, method="lora", **lora):
    """A model whose trained weights are not the ones it began with."""
    torch.manual_seed(seed)
    model = make_trainable(load_base(base, NUMERICS), spec(method, **lora))
    with torch.no_grad():
        for weights in weights_of(model).values():
            weights.add_(torch.randn_like(weights) * 0.3)
    return model.eval()


def saved(base, folder, seed, **lora):
    """An adapter as a job leaves it, and the same as a checkpoint keeps it."""
    model = trained(base, seed, **lora)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "checkpoint").mkdir()
    save_file(
        {name: one.contiguous() for name, one in weights_of(model).items()},
        folder / "checkpoint" / "weights.safetensors",
    )
    return Put("adapter", f"t{seed}", str(folder / "adapter"))


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    return [
        saved(base, tmp_path_factory.mktemp("one"), 1),
        saved(base, tmp_path_factory.mktemp("two"), 2, r=8, use_dora=True),
    ]


def answer(base, tuned=None, **choosing):
    return Answer(
        id=1,
        base=str(base),
        asked=ASKED,
        template="chat",
        choosing=Choosing(**{"max_new_tokens": 24, "repetition_penalty": 1.0, **choosing}),
        tuned=tuned,
    )


def text_of(model, tokenizer, decoding=None, **heard):
    pieces = []
    prompt = prompt_of([Message("user", "count to 3")], "chat", tokenizer, model)
    said = speak(model, tokenizer, prompt, decoding or Decoding(max_new_tokens=24), pieces.append, **heard)
    return "".join(pieces), said


def says(stage, asked):
    with stage.before(asked) as model:
        return text_of(model, stage.tokenizer)[0]


def test_two_adapters_and_the_base_answer_as_each_does_alone(base, adapters):
    alone = [says(Stage(CPU), answer(base, one)) for one in (None, *adapters)]
    assert len(set(alone)) == 3

    together = Stage(CPU)
    order = [None, adapters[0], adapters[1], None, adapters[0], None, adapters[1]]
    expected = dict(zip([None, *(one.key for one in adapters)], alone, strict=True))
    for one in order:
        assert says(together, answer(base, one)) == expected[one.key if one else None]


def test_a_base_with_its_adapters_off_computes_what_it_does_alone_to_the_bit(base, adapters):
    ids = torch.tensor([[1, 70, 71, 72]])
    with torch.no_grad(), Stage(CPU).before(answer(base)) as model:
        alone = model(ids).logits
    stage = Stage(CPU)
    for one in adapters:
        says(stage, answer(base, one))
    with torch.no_grad(), stage.before(answer(base)) as model:
        assert torch.equal(model(ids).logits, alone)


def test_a_checkpoint_answers_as_the_adapter_that_it_is(base, adapters):
    stage = Stage(CPU)
    for one, lora in zip(adapters, ({}, {"r": 8, "use_dora": True}), strict=True):
        folder = one.folder.replace("adapter", "checkpoint")
        weights = Put("lora", one.key + "c", folder, spec(**lora).lora.model_dump(mode="json"))
        assert says(stage, answer(base, weights)) == says(stage, answer(base, one))


def test_a_checkpoint_of_all_weights_replaces_the_base_and_goes_with_it(base, tmp_path):
    model = trained(base, 3, "full")
    weights = {name: one.clone().contiguous() for name, one in weights_of(model).items()}
    save_file(weights, tmp_path / "weights.safetensors")
    stage = Stage(CPU)
    plain = says(stage, answer(base))
    full = says(stage, answer(base, Put("full", "t3", str(tmp_path))))
    assert full == text_of(model, stage.tokenizer)[0] != plain
    assert says(stage, answer(base)) == plain


def test_only_so_many_adapters_are_kept_and_one_that_went_comes_back(base, adapters, tmp_path):
    stage = Stage(CPU)
    first = says(stage, answer(base, adapters[0]))
    for number in range(MOST_ADAPTERS):
        says(stage, answer(base, dataclasses_replaced(adapters[0], f"t{number}more")))
    with stage.before(answer(base)) as model:
        assert len(model.peft_config) == MOST_ADAPTERS
        assert adapters[0].key not in model.peft_config
    assert says(stage, answer(base, adapters[0])) == first


def dataclasses_replaced(put, key):
    return Put(put.kind, key, put.folder, put.lora)


def test_a_model_that_is_not_quiet_is_not_asked(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        model.train()
        with pytest.raises(NeftuneMisapplied, match="eval mode"):
            text_of(model, stage.tokenizer)
        model.eval()
        with noisy_embeddings(model, Noise(5.0, 42)), pytest.raises(NeftuneMisapplied, match="hooks"):
            text_of(model, stage.tokenizer)
        text_of(model, stage.tokenizer)


def test_an_answer_nobody_wants_ends_after_its_current_token(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        looks = iter([False, False, True])
        _, said = text_of(model, stage.tokenizer, unwanted=lambda: next(looks))
    assert (said.finish, said.completion_tokens) == ("cancelled", 3)


def test_it_ends_by_length_by_a_stop_or_by_its_own_end(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        whole, said = text_of(model, stage.tokenizer, Decoding(max_new_tokens=8))
        assert (said.finish, said.completion_tokens) == ("length", 8)
        cut, said = text_of(model, stage.tokenizer, Decoding(max_new_tokens=8, stop=(whole[3:5],)))
        assert said.finish == "stop"
        assert cut == whole.split(whole[3:5])[0].strip()
        prompt = prompt_of([Message("user", "count to 3")], "chat", stage.tokenizer, model)
        first = []
        speak(model, stage.tokenizer, prompt, Decoding(max_new_tokens=1), first.append)
        token = stage.tokenizer.encode("".join(first), add_special_tokens=False)
        ends = dataclasses.replace(prompt, ends=tuple(token))
        said = speak(model, stage.tokenizer, ends, Decoding(max_new_tokens=8), first.append)
        assert (said.finish, said.completion_tokens) == ("stop", 1)


def test_a_seed_draws_the_same_answer_and_temperature_none_at_all(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:

        def drawn(**how):
            return text_of(model, stage.tokenizer, Decoding(max_new_tokens=16, **how))[0]

        assert (
            drawn(temperature=1.0, seed=1) == drawn(temperature=1.0, seed=1) != drawn(temperature=1.0, seed=2)
        )
        assert drawn(seed=1) == drawn(seed=2) == drawn()
        assert drawn(temperature=1.0, top_p=1e-6, seed=1) == drawn()  # only the likeliest is left


def test_sampling_draws_from_the_whole_distribution_and_not_from_the_fifty_likeliest(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        prompt = prompt_of([Message("user", "count to 3")], "chat", stage.tokenizer, model)
        likeliest = model(torch.tensor([prompt.ids])).logits[0, -1].topk(50).indices.tolist()
        drawn = []
        for seed in range(40):
            flat = Decoding(max_new_tokens=1, temperature=2.0, seed=seed)
            speak(model, stage.tokenizer, prompt, flat, drawn.append)
    letters = [letter for letter in drawn if letter.isascii()]  # others are halves of characters
    assert any(stage.tokenizer.encode(one, add_special_tokens=False)[0] not in likeliest for one in letters)


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_said(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        prompt = prompt_of("x" * 600, "none", stage.tokenizer, model)
        with pytest.raises(PromptTooLong, match="601 tokens"):
            speak(model, stage.tokenizer, prompt, Decoding(), lambda _: pytest.fail("something was said"))


def test_a_text_is_gone_on_with_as_it_is(base):
    stage = Stage(CPU)
    with stage.before(answer(base)) as model:
        prompt = prompt_of(" a<|im_end|>", "none", stage.tokenizer, model)
        assert stage.tokenizer.decode(prompt.ids) == "<s> a<|im_end|>"
        assert not set(stage.tokenizer.encode("<|im_end|>", add_special_tokens=False)) & set(prompt.ids)
        assert not prompt.strip


def test_another_base_takes_the_place_of_the_first(base, tmp_path):
    other = make_base(tmp_path / "other", seed=9)
    stage = Stage(CPU)
    first, second = says(stage, answer(base)), says(stage, answer(other))
    assert first != second
    shutil.rmtree(tmp_path / "other")
    assert says(stage, answer(other)) == second  # still in memory
    assert says(stage, answer(base)) == first
