"""Philox4x32-10 against the vectors published with Random123, and the map to (-1, 1)."""

import pytest
import torch

from neftune_core.noise.philox import WORD, interleaved, philox4x32, to_unit

PUBLISHED = [  # key, counter, words: kat_vectors of Random123
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((WORD, WORD), (WORD,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("key", "counter", "words"), PUBLISHED)
def test_the_words_are_those_of_the_published_vectors(key, counter, words):
    drawn = philox4x32(key, tuple(torch.tensor([word]) for word in counter))

    assert tuple(int(word) for word in drawn) == words


def test_counters_broadcast_to_the_same_words_as_single_ones():
    lane, position = torch.arange(3)[None, :], torch.arange(4)[:, None]
    key_low, key_high = torch.tensor([[7]]), torch.tensor([[9]])

    grid = philox4x32((5, 6), (lane, position, key_low, key_high))

    single = philox4x32((5, 6), tuple(torch.tensor([word]) for word in (2, 3, 7, 9)))
    assert [int(word[3, 2]) for word in grid] == [int(word) for word in single]


def test_the_counters_given_are_left_as_they_are():
    counter = tuple(torch.full((3, 2), word) for word in (2, 3, 7, 9))

    philox4x32((5, 6), counter)

    assert [int(word.unique()) for word in counter] == [2, 3, 7, 9]


def test_words_of_neighbouring_counters_lie_side_by_side_with_their_bits():
    words = tuple(torch.tensor([[word, word + 4]]) for word in (0, 1, WORD - 5, WORD - 4))

    laid = interleaved(words)

    assert [value & WORD for value in laid[0].tolist()] == [0, 1, WORD - 5, WORD - 4, 4, 5, WORD - 1, WORD]


def test_the_map_to_the_unit_range_is_symmetric_and_never_reaches_its_ends():
    ends = to_unit(torch.tensor([0, -1], dtype=torch.int32))  # -1: all bits
    middle = to_unit(torch.tensor([(1 << 31) - 1, -(1 << 31)], dtype=torch.int32))

    assert ends.tolist() == [-1 + 2**-24, 1 - 2**-24]
    assert middle.tolist() == [-(2**-24), 2**-24]
    assert ends.dtype == torch.float32
