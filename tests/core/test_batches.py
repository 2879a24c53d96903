"""Steps and their arrangement: members come from the seed, rows only hold them."""

import torch

from neftune_core.batches import Arrangement, arrange, lay, steps
from neftune_core.prompts import render
from neftune_core.sampling import held_out, shuffled
from neftune_core.tokenise import prepare
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


def test_labels_stand_one_place_after_where_they_are_told():
    examples = make_examples(5)

    batch = lay(examples, Arrangement(5, pad_id=7))

    ids = batch.ids_BT.flatten()
    assert torch.equal(ids[batch.place_M + 1], batch.label_M)
    assert len(batch.label_M) == sum(example.trained_tokens for example in examples)
    for row, example in enumerate(examples):
        length = len(example.ids)
        assert batch.ids_BT[row, :length].tolist() == example.ids.tolist()
        assert (batch.ids_BT[row, length:] == 7).all()
        assert batch.mask_BT[row].sum() == length == batch.layout.length_S[row]


def test_held_out_rows_are_a_share_and_never_all():
    train, held = held_out(list(range(100)), 0.05, seed=3)

    assert len(held) == 5
    assert sorted(train + held) == list(range(100))
    assert held_out(list(range(100)), 0.05, seed=4)[1] != held
    assert held_out([1], 0.5, seed=3) == ([1], [])
    assert held_out([1, 2], 0.5, seed=3)[1] != []
    assert held_out(list(range(9)), 0.05, seed=3)[1] == []
