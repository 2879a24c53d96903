"""What of a growing text is told: all of it in the end, nothing that would have to be taken back."""

import pytest

from neftune_core.decoding import GrowingText


def told(texts: list[str], *stop: str, strip: bool = True) -> list[str]:
    """Grow through these texts, the last one being the end; give what was told each time."""
    growing = GrowingText(stop, strip=strip)
    return [*(growing.grow(text) for text in texts), growing.end(texts[-1])]


def test_pieces_joined_are_the_answer_without_white_space_around_it():
    assert told(["  ", "  A", "  A ", "  A cat", "  A cat\n\n"]) == ["", "A", "", " cat", "", ""]


def test_a_text_that_is_gone_on_with_keeps_its_white_space():
    assert told([" ", " a ", " a b "], strip=False) == [" ", "a ", "b ", ""]


def test_half_a_character_waits_for_its_other_half():
    assert told(["a", "a\N{REPLACEMENT CHARACTER}", "a\N{SNOWMAN}"]) == ["a", "", "\N{SNOWMAN}", ""]


def test_what_stays_half_a_character_is_told_at_the_end():
    assert told(["a\N{REPLACEMENT CHARACTER}"]) == ["a", "\N{REPLACEMENT CHARACTER}"]


def test_what_may_begin_a_stop_waits_until_it_is_none():
    assert told(["one E", "one EN", "one ENough"], "END") == ["one", "", " ENough", ""]


def test_an_answer_ends_before_the_first_of_its_stops():
    growing = GrowingText(("END", "\n\n"))
    assert growing.grow("one EN") == "one"
    assert not growing.stopped
    assert growing.grow("one END two") == ""
    assert growing.stopped
    assert growing.end("one END two") == ""


def test_the_earliest_of_several_stops_counts():
    assert "".join(told(["a b c"], "c", "b")) == "a"


def test_a_stop_may_come_before_everything():
    assert "".join(told(["\n\nHello"], "\n\n")) == ""


@pytest.mark.parametrize("stop", ["ab", "abc", "b"])
def test_one_by_one_or_at_once_the_answer_is_the_same(stop):
    whole = "x abaab y abc z"
    pieces = [whole[:size] for size in range(1, len(whole) + 1)]
    assert (
        "".join(told(pieces, stop))
        == "".join(told([whole], stop))
        == whole.split(stop, maxsplit=1)[0].strip()
    )


def test_a_tokenizer_that_rewrites_what_it_said_takes_nothing_back():
    assert told(["a b", "a-b c"]) == ["a b", "", ""]
