"""The fast way may decline, but what it takes must be what the slow way takes."""

import json
import random

import pytest

from neftune_core.rows_block import BlockDecoder
from neftune_core.rows_check import decode, flaws_of, form_of
from neftune_core.rows_split import Elements, Lines
from neftune_core.strict_json import JsonFault, loads
from tests.core.rows_made import ALPACA, FORMS, TOOL_CHAT, TOOL_SHARE

LIMIT = 1 << 20
ROWS = [
    *FORMS.values(),
    TOOL_CHAT,
    TOOL_SHARE,
    {**ALPACA, "history": [["q", "a"]], "id": "x", "score": 1.5, "meta": {"a": ["b", {"c": None}]}},
]
PIECES = [
    b'"', b"\\", b"\\\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\r\n", b"\x00", b"\xff",
    b"\\u0000", b"\\ud800", b'"text":"x",', b',"text":"x"', b'"role":"user",', b'"te\\u0078t":"x",',
    b"1e999", b"NaN", b"null", b"1", b"true", b'"a":1,"a":2,', b'"meta":' + b"[" * 40 + b"]" * 40 + b",",
    b"}\n{", b'"id":{"x":1,"x":2},', b'"weight":1,', b'"input":"y",', b"\xc3\xa9", b'"tools":5,',
]  # fmt: skip


def form(row):
    return form_of(row)


def slow(data, form):
    value = loads(data)
    assert form_of(value) == form
    assert flaws_of(value, form) == []
    return decode(data, form)


def written(row, chance):
    return json.dumps(
        row, ensure_ascii=chance.random() < 0.5, separators=chance.choice([(",", ":"), (", ", ": ")])
    )


@pytest.mark.parametrize("seed", range(8))
def test_what_is_taken_at_once_is_taken_row_by_row(seed):
    chance = random.Random(seed)
    taken = 0
    for _ in range(1500):
        # Given lines of one form, one of them damaged
        row = chance.choice(ROWS)
        lines = [bytearray(written(row, chance).encode()) for _ in range(3)]
        for _ in range(chance.randint(0, 3)):
            line = chance.choice(lines)
            at = chance.randrange(len(line) + 1)
            line[at : at + chance.choice([0, 0, 0, 1, 2])] = chance.choice(PIECES)
        data = b"\n".join(lines) + b"\n"
        block = Lines.cut(1, 0, bytes(data))
        # When they are decoded at once
        rows = BlockDecoder(form(row), LIMIT).decode(block)
        if rows is None:
            continue
        # Then the slow way has the same rows
        taken += 1
        try:
            assert [slow(data, form(row)) for _, _, data in block.rows()] == rows
        except JsonFault as fault:
            pytest.fail(f"{fault.code}: {data!r}")
    assert taken > 300


@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_at_once_from_an_array_is_taken_row_by_row(seed):
    chance = random.Random(seed)
    taken = 0
    for _ in range(1500):
        row = chance.choice(ROWS)
        parts = [bytearray(written(row, chance).encode()) for _ in range(3)]
        for _ in range(chance.randint(0, 2)):
            part = chance.choice(parts)
            at = chance.randrange(len(part) + 1)
            part[at : at + chance.choice([0, 0, 1])] = chance.choice(PIECES)
        gaps = [chance.choice([b",", b" ,\n ", b", "]) for _ in parts]
        data = b"".join(gap + bytes(part) for gap, part in zip(gaps, parts, strict=True))
        ends, end = [], 0
        for gap, part in zip(gaps, parts, strict=True):
            end += len(gap) + len(part)
            ends.append(end)
        block = Elements(4, 0, data, tuple(ends))
        rows = BlockDecoder(form(row), LIMIT).decode(block)
        if rows is None:
            continue
        taken += 1
        assert [slow(data, form(row)) for _, _, data in block.rows()] == rows
    assert taken > 300


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_sound_rows_do_not_need_the_slow_way(row):
    decoder = BlockDecoder(form(row), LIMIT)
    line = json.dumps(row).encode()
    assert decoder.decode(Lines.cut(1, 0, (line + b"\n") * 5)) is not None
    assert decoder.decode(Lines.cut(1, 0, (line + b"\r\n") * 5)) is not None
    assert decoder.decode(Lines.cut(1, 0, (line + b"\n") * 4 + line)) is not None


def test_two_rows_on_a_line_and_one_row_on_two_lines_do_not_even_out():
    row = b'{"text":\n"a"}\n{"text":"b"} {"text":"c"}\n'
    assert BlockDecoder("text", LIMIT).decode(Lines.cut(1, 0, row)) is None
