"""Answers in batches are word for word those of one at a time, whatever shares their batch."""

from dataclasses import replace

import pytest
import torch

from neftune_core.decoding import Decoding
from neftune_core.errors import NeftuneMisapplied
from neftune_core.evaluate import answers as batched
from neftune_core.evaluate.answers import answers
from neftune_core.model import Numerics, load_base, load_tokenizer
from neftune_core.speaking import prompt_of_row, speak
from tests.core.tiny import make_base, make_rows

DECODING = Decoding(max_new_tokens=None, repetition_penalty=1.2, max_total_tokens=100)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base):
    return load_base(base, Numerics(torch.device("cpu"), torch.float32, autocast=False, quantization=None))


@pytest.fixture
def tokenizer(base):
    return load_tokenizer(base)


@pytest.fixture
def prompts(model, tokenizer):
    """Give prompts of many lengths; a random model never ends, so any of some letters is an end to it."""
    ends = tuple(range(2, 300, 23))
    return [replace(prompt_of_row(row, "chat", tokenizer, model), ends=ends) for row in make_rows(12)]


def alone(model, tokenizer, prompts, decoding):
    told = []
    for prompt in prompts:
        pieces = []
        said = speak(model, tokenizer, prompt, decoding, pieces.append)
        told.append(("".join(pieces), said.finish, said.completion_tokens))
    return told


def together(model, tokenizer, prompts, decoding, **options):
    found = {one.index: one for one in answers(model, tokenizer, prompts, decoding, **options)}
    assert sorted(found) == list(range(len(prompts)))
    return [(found[i].text, found[i].finish, found[i].completion_tokens) for i in sorted(found)]


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_a_batch_says_what_each_says_alone(model, tokenizer, prompts, batch_size):
    said = alone(model, tokenizer, prompts, DECODING)

    assert together(model, tokenizer, prompts, DECODING, batch_size=batch_size) == said

    assert {finish for _, finish, _ in said} == {"stop", "length"}
    assert len({tokens for _, _, tokens in said}) > 4


def test_padding_is_no_repetition(model, tokenizer, prompts):
    said = alone(model, tokenizer, prompts, DECODING)
    asked = {token for prompt in prompts for token in prompt.ids}
    letters = tokenizer(said[0][0], add_special_tokens=False).input_ids
    # What the shortest prompt, padded most, is answered with; nobody asks it.
    tokenizer.pad_token_id = next(token for token in letters if token not in asked)
    assert together(model, tokenizer, prompts, DECODING, batch_size=12) == said


def test_what_is_unfinished_goes_on_from_its_own_words(model, tokenizer, prompts, monkeypatch):
    said = alone(model, tokenizer, prompts, DECODING)
    widths = []
    whole = batched._go_on
    monkeypatch.setattr(
        batched, "_go_on", lambda batch, *rest: (widths.append(rows_of(batch)), whole(batch, *rest))
    )
    monkeypatch.setattr(batched, "EIGHTH", 10**6)  # broken off as soon as few are left

    assert together(model, tokenizer, prompts, DECODING, batch_size=8) == said

    assert any(begun for _, begun in widths), "no answer was broken off"


def rows_of(batch):
    return len(batch.rows), any(row.said for row in batch.rows)


def test_an_answer_may_be_forbidden_to_end_early(model, tokenizer, prompts):
    found = together(model, tokenizer, prompts, DECODING, batch_size=5, min_new_tokens=20)
    assert min(tokens for _, _, tokens in found) > 20
    assert any(finish == "stop" for _, finish, _ in found)


def test_what_was_said_before_counts_towards_the_shortest_answer(prompts):
    row = batched._Row(0, prompts[0], room=50, said=[7, 8, 9])
    batch = batched._Batch([row], ends=[2], few=0, min_new_tokens=5, ended=lambda: False)
    changes = batched._AsAlone(batch, 1.0)
    forbidden = [changes(torch.tensor([row.ids]), torch.zeros(1, 320))[0].isinf() for _ in range(3)]
    assert [places.nonzero().flatten().tolist() for places in forbidden] == [[2], [2], []]


def test_a_prompt_without_room_has_no_answer_and_keeps_the_others(model, tokenizer, prompts):
    short = min(len(prompt.ids) for prompt in prompts)
    decoding = replace(DECODING, max_total_tokens=short + 1)
    found = together(model, tokenizer, prompts, decoding, batch_size=5)
    fits = [len(prompt.ids) == short for prompt in prompts]
    assert [text is not None for text, _, _ in found] == fits
    assert any(fits)


def test_who_asks_to_stop_is_heard_between_tokens(model, tokenizer, prompts):
    asked = []

    def ends():
        asked.append(None)
        return len(asked) > 3

    found = list(
        answers(model, tokenizer, prompts, replace(DECODING, max_total_tokens=500), batch_size=12, ends=ends)
    )
    assert len(asked) <= 6
    assert len(found) < len(prompts)


def test_a_model_that_carries_noise_does_not_answer(model, tokenizer, prompts):
    hook = model.get_input_embeddings().register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(NeftuneMisapplied):
            list(answers(model, tokenizer, prompts, DECODING, batch_size=4))
    finally:
        hook.remove()


def test_want_of_memory_halves_the_batch_and_changes_no_answer(model, tokenizer, prompts, monkeypatch):
    said = alone(model, tokenizer, prompts, DECODING)
    whole, sizes = batched._go_on, []

    def narrow(batch, *rest):
        sizes.append(len(batch.rows))
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError("no room")
        whole(batch, *rest)

    monkeypatch.setattr(batched, "_go_on", narrow)
    assert together(model, tokenizer, prompts, DECODING, batch_size=12) == said
    assert sizes[:3] == [12, 6, 3]
