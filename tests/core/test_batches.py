"""Steps and their arrangement: members come from the seed, rows only hold them."""

import numpy as np
import pytest
import torch

from neftune_core.batches import Arrangement, arrange, lay, steps
from neftune_core.prompts import render
from neftune_core.sampling import held_out, shuffled
from neftune_core.tokenise import Example, prepare
from tests.core.tiny import make_rows, make_tokenizer


def make_examples(count):
    tokenizer = make_tokenizer()
    rendered = ((number, render(row, "chat", tokenizer)) for number, row in enumerate(make_rows(count)))
    return prepare(rendered, tokenizer, 128).examples


def test_an_epoch_walks_each_example_once_and_keeps_its_small_last_step():
    examples = make_examples(10)

    walked = list(steps(examples, batch_size=4, total_steps=6, seed=1))

    assert [len(step.examples) for step in walked] == [4, 4, 2, 4, 4, 2]
    assert [step.epoch for step in walked] == [0, 0, 0, 1, 1, 1]
    assert [step.number for step in walked] == [1, 2, 3, 4, 5, 6]
    first, second = (sorted(e.row for s in part for e in s.examples) for part in (walked[:3], walked[3:]))
    assert first == second == list(range(10))


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    examples = make_examples(30)

    def order(seed, epoch):
        walked = list(steps(examples, 30, 2, seed))
        return [example.row for example in walked[epoch].examples]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_the_order_is_what_it_was():
    """Golden: it decides which examples meet in a step, in every run ever made."""
    assert shuffled(8, 42, "epoch 0") == [2, 5, 3, 1, 6, 0, 7, 4]


def test_micro_batches_hold_the_same_examples_however_they_are_cut():
    examples = make_examples(9)

    def told(micro_batch_size):
        keys, labels = [], []
        for batch in arrange(examples, Arrangement(micro_batch_size, pad_id=0)):
            keys += batch.layout.key_S.tolist()
            labels += batch.label_M.tolist()
        return sorted(keys), sorted(labels)

    assert told(9) == told(1) == told(4)


@pytest.mark.parametrize("rows", ["right", "left", "packed"])
def test_labels_stand_one_place_after_where_they_are_told(rows):
    examples = make_examples(5)

    batch = lay(examples, Arrangement(5, pad_id=7, rows=rows))

    ids, segment = batch.ids_BT.flatten(), batch.layout.segment_BT.flatten()
    assert torch.equal(ids[batch.place_M + 1], batch.label_M)
    assert len(batch.label_M) == sum(example.trained_tokens for example in examples)
    assert (segment[batch.place_M] == segment[batch.place_M + 1]).all()  # told by the same example
    for number, example in enumerate(examples):
        assert ids[segment == number].tolist() == example.ids.tolist()
        assert batch.layout.length_S[number] == len(example.ids)
        assert batch.layout.key_S[number] == example.key
        places = batch.layout.position_BT.flatten()[segment == number]
        assert places.tolist() == list(range(len(example.ids)))
    assert (ids[segment < 0] == 7).all()


def test_padded_rows_are_one_example_each_and_end_or_begin_with_pads():
    examples = make_examples(5)
    width = max(len(example.ids) for example in examples)

    right, left = (lay(examples, Arrangement(5, 0, rows)) for rows in ("right", "left"))

    for row, example in enumerate(examples):
        length = len(example.ids)
        assert right.mask_BT[row].tolist() == [1] * length + [0] * (width - length)
        assert left.mask_BT[row].tolist() == [0] * (width - length) + [1] * length
        assert left.position_BT[row].tolist() == [0] * (width - length) + list(range(length))
    assert right.position_BT is None
    assert right.lengths is None
    assert left.lengths is None


def test_a_packed_row_has_no_pads_and_begins_anew_with_each_example():
    examples = make_examples(5)

    batch = lay(examples, Arrangement(5, 0, "packed"))

    assert batch.lengths == tuple(len(example.ids) for example in examples)
    assert batch.ids_BT.shape == (1, sum(batch.lengths))
    assert batch.mask_BT is None
    assert batch.position_BT[0].tolist() == [place for length in batch.lengths for place in range(length)]


def of_lengths(*lengths):
    """Make examples of these lengths."""
    [example] = make_examples(1)
    blank = vars(example)
    return [
        Example(
            **{
                **blank,
                "row": row,
                "ids": np.arange(length, dtype=np.int32),
                "trained": np.arange(length) > 0,
                "response": np.arange(length) > 0,
            }
        )
        for row, length in enumerate(lengths)
    ]


def rows_of(lengths, arrangement):
    return [batch.lengths for batch in arrange(of_lengths(*lengths), arrangement)]


def test_packed_rows_are_as_few_and_as_even_as_their_limit_allows():
    by_examples = Arrangement(3, 0, "packed")
    by_tokens = Arrangement(99, 0, "packed", row_tokens=10)

    assert rows_of((9, 1, 5, 4, 3, 2), by_examples) == [(9, 3, 1), (5, 4, 2)]
    assert rows_of((9, 1, 5, 4, 3, 2, 6), by_tokens) == [(9, 1), (6, 4), (5, 3, 2)]
    assert rows_of((12, 3), by_tokens) == [(12,), (3,)]  # an example is never cut
    assert rows_of((2, 2, 2), Arrangement(2, 0, "packed", row_tokens=10)) == [(2, 2), (2,)]


def test_half_the_memory_is_half_the_examples_or_tokens():
    assert Arrangement(5, 0).halved() == Arrangement(3, 0)
    assert Arrangement(8, 0, "packed", 100).halved() == Arrangement(4, 0, "packed", 50)


@pytest.mark.parametrize("rows", ["right", "packed"])
def test_micro_batches_with_means_of_their_own_are_as_the_plan_has_them(rows):
    arrangement = Arrangement(2, 0, rows, in_order=True)

    batches = arrange(of_lengths(4, 9, 5, 7, 6), arrangement)

    assert [batch.layout.length_S.tolist() for batch in batches] == [[4, 9], [5, 7], [6]]


@pytest.mark.parametrize("rows", ["right", "left", "packed"])
def test_noise_may_be_asked_for_answers_or_the_rest(rows):
    examples = make_examples(4)

    chosen = {
        target: lay(examples, Arrangement(4, 0, rows, target=target)).layout
        for target in ("all", "prompt", "response")
    }

    assert chosen["all"].chosen_BT is None
    real = chosen["all"].segment_BT >= 0
    assert torch.equal(chosen["prompt"].chosen_BT ^ chosen["response"].chosen_BT, real)
    for number, example in enumerate(examples):
        of_example = chosen["response"].chosen_BT[chosen["response"].segment_BT == number]
        assert of_example.tolist() == example.response.tolist()
    assert torch.equal(chosen["prompt"].length_S, chosen["all"].length_S)


def test_held_out_rows_are_a_share_and_never_all():
    train, held = held_out(list(range(100)), 0.05, seed=3)

    assert len(held) == 5
    assert sorted(train + held) == list(range(100))
    assert held_out(list(range(100)), 0.05, seed=4)[1] != held
    assert held_out([1], 0.5, seed=3) == ([1], [])
    assert held_out([1, 2], 0.5, seed=3)[1] != []
    assert held_out(list(range(9)), 0.05, seed=3)[1] == []
