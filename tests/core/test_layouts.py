"""Whose token each place of a batch holds, in every layout that trainers make, and what is refused."""

import numpy as np
import pytest
import torch

from neftune_core.errors import NeftuneMisapplied
from neftune_core.keys import ExampleKeys
from neftune_core.noise import Layout

LENGTHS = (3, 5, 2)


def examples(*lengths):
    """Make examples of these lengths, no two alike."""
    return [[10 * row + place + 1 for place in range(length)] for row, length in enumerate(lengths)]


def collated(rows, **how):
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling  # noqa: PLC0415 - slow to import

    return DataCollatorForLanguageModeling(pad_token_id=0, **how)([{"input_ids": row} for row in rows])


def key_of(tokens, occurrence=0):
    keys = ExampleKeys()
    return [keys.key(np.array(tokens)) for _ in range(occurrence + 1)][-1]


def places(layout, ids):
    """Tell for each example, by its key, the tokens that the layout gives it, in its order."""
    found = {}
    for number, key in enumerate(layout.key_S.tolist()):
        here = layout.segment_BT == number
        assert layout.position_BT[here].tolist() == list(range(int(layout.length_S[number])))
        found[key] = ids[here].tolist()
    return found


def of_batch(batch):
    return Layout.of_batch(batch, ExampleKeys())


# What collators make

BATCHES = {
    "padded": {},
    "padded to a multiple": {"pad_to_multiple_of": 8},
    "padded with positions": {"return_position_ids": True},
    "padding-free": {"padding_free": True},
    "padding-free to a multiple": {"padding_free": True, "pad_to_multiple_of": 8},
}


@pytest.mark.parametrize("how", BATCHES.values(), ids=BATCHES)
def test_each_example_of_trls_collator_has_its_own_tokens_length_and_name(how):
    rows = examples(*LENGTHS)
    batch = collated(rows, **how)

    layout = of_batch(batch)

    assert sorted(layout.length_S.tolist()) == sorted(LENGTHS)
    assert places(layout, batch["input_ids"]) == {key_of(row): row for row in rows}
    assert int((layout.segment_BT >= 0).sum()) == sum(LENGTHS)  # pads belong to nobody


def test_bfd_rows_are_read_through_the_lengths_that_packing_kept():
    from datasets import Dataset  # noqa: PLC0415 - slow to import
    from trl import pack_dataset  # noqa: PLC0415 - slow to import
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling  # noqa: PLC0415 - slow to import

    rows = examples(3, 5, 2, 4)
    packed = pack_dataset(
        Dataset.from_dict({"input_ids": rows, "labels": rows}), seq_length=8, strategy="bfd"
    )
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(list(packed))

    assert places(of_batch(batch), batch["input_ids"]) == {key_of(row): row for row in rows}


@pytest.mark.parametrize("told", ["position_ids", "seq_idx", "cu_seq_lens_q"])
def test_any_one_of_the_sources_is_enough(told):
    rows = examples(*LENGTHS)
    batch = collated(rows, padding_free=True, pad_to_multiple_of=8)

    layout = of_batch({"input_ids": batch["input_ids"], told: batch[told]})

    assert places(layout, batch["input_ids"]) == {key_of(row): row for row in rows}


def test_the_flattening_collator_of_transformers_is_read_too():
    from transformers import DataCollatorWithFlattening  # noqa: PLC0415 - slow to import

    rows = examples(*LENGTHS)
    batch = DataCollatorWithFlattening(return_tensors="pt")([{"input_ids": row} for row in rows])

    assert places(of_batch(batch), batch["input_ids"]) == {key_of(row): row for row in rows}


def test_rows_padded_on_the_left_are_read_with_or_without_their_positions():
    ids = torch.tensor([[0, 0, 7, 8], [3, 4, 5, 6]])
    mask = (ids > 0).long()
    named = {key_of([7, 8]): [7, 8], key_of([3, 4, 5, 6]): [3, 4, 5, 6]}
    positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)  # as generation writes them

    assert places(of_batch({"input_ids": ids, "attention_mask": mask}), ids) == named
    for told in (positions, torch.arange(4)[None]):
        batch = {"input_ids": ids, "attention_mask": mask.bool(), "position_ids": told}
        assert places(of_batch(batch), ids) == named


def test_positions_in_an_image_tell_nothing_about_examples():
    batch = {**collated([[1, 2, 3], [4, 5]]), "position_ids": torch.zeros(3, 2, 3)}

    assert of_batch(batch).length_S.tolist() == [3, 2]


def test_packed_rows_of_several_lines_end_their_examples_with_the_line():
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]])
    ids = torch.arange(10).view(2, 5) + 1

    layout = of_batch({"input_ids": ids, "position_ids": positions})

    assert layout.length_S.tolist() == [3, 2, 2, 3]
    assert layout.segment_BT.tolist() == [[0, 0, 0, 1, 1], [2, 2, 3, 3, 3]]


def test_an_index_that_goes_on_over_lines_is_cut_at_their_ends():
    layout = Layout.from_seq_idx(torch.zeros(2, 3), torch.tensor([8, 9]))

    assert layout.segment_BT.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_negative_indices_are_pads():
    layout = Layout.from_seq_idx(torch.tensor([[0, 0, 1, 1, -1, -1]]), torch.tensor([8, 9]))

    assert layout.segment_BT.tolist() == [[0, 0, 1, 1, -1, -1]]
    assert (layout.length_S.tolist(), layout.key_S.tolist()) == ([2, 2], [8, 9])


def test_the_three_constructors_of_packed_rows_agree():
    keys = torch.tensor([-5, 6])

    built = [
        Layout.from_seq_idx(torch.tensor([[0, 0, 0, 1, 1, 2, 3]]), keys),
        Layout.from_cu_seq_lens(torch.tensor([0, 3, 5, 6, 7], dtype=torch.int32), 7, keys),
        Layout.from_position_ids(torch.tensor([[0, 1, 2, 0, 1, 0, 0]]), keys),
    ]

    for layout in built:
        assert layout.segment_BT.tolist() == [[0, 0, 0, 1, 1, -1, -1]]  # pads of one token each get nothing
        assert layout.position_BT.tolist() == [[0, 1, 2, 0, 1, 0, 0]]
        assert layout.length_S.tolist() == [3, 2]
        assert layout.key_S.tolist() == [-5, 6]


def test_keys_that_do_not_match_the_examples_are_refused():
    with pytest.raises(NeftuneMisapplied, match="3 keys were given for 2"):
        Layout.from_cu_seq_lens(torch.tensor([0, 3, 5]), 5, torch.tensor([1, 2, 3]))


def test_an_empty_padded_row_is_no_example():
    layout = Layout.padded(torch.tensor([[1, 1], [0, 0], [1, 0]]), torch.tensor([4, 5, 6]))

    assert layout.segment_BT.tolist() == [[0, 0], [-1, -1], [1, -1]]
    assert (layout.length_S.tolist(), layout.key_S.tolist()) == ([2, 1], [4, 6])


# Names


def test_two_copies_of_an_example_are_named_apart_and_the_next_epoch_begins_anew():
    rows = [[1, 2, 3], [1, 2, 3]]
    keys = ExampleKeys()

    layout = Layout.of_batch(collated(rows), keys)
    later = Layout.of_batch(collated(rows[:1]), keys)

    named = [key_of(rows[0], occurrence) for occurrence in range(3)]
    assert layout.key_S.tolist() == named[:2]
    assert later.key_S.tolist() == named[2:]
    assert Layout.of_batch(collated(rows), ExampleKeys()).key_S.tolist() == named[:2]


@pytest.mark.parametrize("how", ["per row", "per token"])
def test_a_key_that_the_batch_carries_wins(how):
    batch = collated([[1, 2, 3], [4, 5]])
    given = torch.tensor([-7, 9])
    batch["example_key"] = given if how == "per row" else given[:, None].expand(2, 3)

    assert of_batch(batch).key_S.tolist() == [-7, 9]


def test_a_packed_row_carries_its_keys_per_token():
    batch = collated([[1, 2, 3], [4, 5]], padding_free=True, pad_to_multiple_of=8)
    batch["example_key"] = torch.tensor([[-7, -7, -7, 9, 9, 0, 0, 0]])

    assert of_batch(batch).key_S.tolist() == [-7, 9]


def test_keys_of_another_shape_are_refused():
    batch = {**collated([[1, 2, 3], [4, 5]]), "example_key": torch.tensor([1, 2, 3])}

    with pytest.raises(NeftuneMisapplied, match="per row, or one per token"):
        of_batch(batch)


# What is refused

IDS = torch.arange(1, 9).view(1, 8)
PACKED = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
REFUSED = {
    "no lengths": ({"input_ids": IDS}, "tells no lengths"),
    "only embeddings": ({"inputs_embeds": torch.zeros(1, 8, 4)}, "noise.apply"),
    "bounds that end early": ({"input_ids": IDS, "cu_seq_lens_q": torch.tensor([0, 3, 7])}, "rise from 0"),
    "bounds that go back": ({"input_ids": IDS, "cu_seq_lens_q": torch.tensor([0, 5, 3, 8])}, "rise from 0"),
    "bounds that start late": ({"input_ids": IDS, "cu_seq_lens_q": torch.tensor([2, 8])}, "rise from 0"),
    "bounds of two rows": (
        {"input_ids": IDS.view(2, 4), "cu_seq_lens_q": torch.tensor([0, 4, 8])},
        "one flattened row",
    ),
    "positions of a part": ({"input_ids": IDS, "position_ids": PACKED + 1}, "begin at 0"),
    "positions that jump": (
        {"input_ids": IDS, "position_ids": torch.tensor([[0, 1, 3, 4, 5, 6, 7, 8]])},
        "begin at 0",
    ),
    "a mask of one example beside positions of two": (
        {"input_ids": IDS, "attention_mask": torch.ones(1, 8), "position_ids": PACKED},
        "one example in a row where position_ids tells several",
    ),
    "a mask of one example beside an index of two": (
        {"input_ids": IDS, "attention_mask": torch.ones(1, 8), "seq_idx": (IDS > 3).int()},
        "where seq_idx tells several",
    ),
    "an index and positions that disagree": (
        {"input_ids": IDS, "seq_idx": (IDS > 4).int(), "position_ids": PACKED},
        "disagree",
    ),
    "a mask that numbers examples": ({"input_ids": IDS, "attention_mask": PACKED}, "0 and 1"),
    "a mask of another shape": ({"input_ids": IDS, "attention_mask": torch.ones(1, 1, 8, 8)}, "shape"),
    "positions of another width": ({"input_ids": IDS, "position_ids": PACKED[:, :5]}, "has shape"),
}


@pytest.mark.parametrize(("batch", "why"), REFUSED.values(), ids=REFUSED)
def test_a_batch_that_leaves_lengths_open_is_refused(batch, why):
    with pytest.raises(NeftuneMisapplied, match=why):
        of_batch(batch)
