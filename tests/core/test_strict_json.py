import json
import random

import pytest

from neftune_core.strict_json import JsonFault, loads


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"a": [1, 2.5, -3e10, true, false, null, "x"]}',
        b'"\\ud83d\\ude00 \\u00e9"',
        b'"\\\\ud800 is text, not an escape"',
        b'"\\\\u0000 too"',
        '{"schlüssel": "爱"}'.encode(),
        b'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ in a string"',
        b"[" * 32 + b"]" * 32,
        b"-0.0",
    ],
)
def test_what_is_fine_equals_the_standard_parser(data):
    assert loads(data) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "code", "offset"),
    [
        (b"", "json_invalid", 0),
        (b"   ", "json_invalid", 3),
        (b"{", "json_invalid", 1),
        (b'{"a" 1}', "json_invalid", 5),
        (b"{'a': 1}", "json_invalid", 1),
        (b'{"a": 1} x', "json_invalid", 9),
        ('{"é": }'.encode(), "json_invalid", 7),
        (b'"a\nb"', "json_invalid", 2),
        (b"\xef\xbb\xbf{}", "json_invalid", 0),
        (b'{"a": "\xff"}', "dataset_encoding", 7),
        (b'"\xed\xa0\x80"', "dataset_encoding", 1),
        (b'{"a": "x\x00"}', "forbidden_character", 8),
        (b'{"a": "x\\u0000"}', "forbidden_character", 8),
        (b'{"a": "\\ud800"}', "lone_surrogate", 7),
        (b'{"a": "\\uDC00"}', "lone_surrogate", 7),
        (b'{"a": "\\ud83d\\ud83d\\ude00"}', "lone_surrogate", 7),
        (b'{"\\ud83d": 1, "b": "\\ude00"}', "lone_surrogate", 2),
        (b"[" * 33 + b"]" * 33, "too_deep", 32),
        (b'{"a": 1, "a": 2}', "duplicate_key", None),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "duplicate_key", None),
        (b"NaN", "non_finite_number", None),
        (b"[Infinity]", "non_finite_number", None),
        (b"[-Infinity]", "non_finite_number", None),
        (b'{"a": 1e999}', "non_finite_number", None),
        (b'{"a": -1e999}', "non_finite_number", None),
        (b"1" * 5000, "number_too_long", None),
        (b"1." + b"1" * 5000, "number_too_long", None),
    ],
)
def test_what_is_not_fine_has_its_code_and_place(data, code, offset):
    with pytest.raises(JsonFault) as caught:
        loads(data)
    assert (caught.value.code, caught.value.offset) == (code, offset)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_hundred_thousand_levels_are_too_deep_and_nothing_worse(opening):
    with pytest.raises(JsonFault) as caught:
        loads(opening * 100_000)
    assert caught.value.code == "too_deep"


def test_depth_is_counted_outside_strings_only():
    assert loads(b'["' + b'\\"[' * 100 + b'"]') == ['"[' * 100]


def test_messages_do_not_repeat_what_was_sent():
    with pytest.raises(JsonFault) as caught:
        loads(b'{"<script>alert(1)": 1, "<script>alert(1)": 2}')
    assert "script" not in caught.value.msg


def test_any_bytes_give_a_value_or_a_fault():
    # Given valid documents with random bytes changed, cut and put in
    chance = random.Random(7)
    whole = b'{"messages": [{"role": "user", "content": "h\\ud83d\\ude00 \\u0041"}], "n": [1, 2.5e3, null]}'
    pieces = [b'"', b"\\", b"{", b"]", b"\\ud8", b"\x00", b"\xff", b"1e999", b"NaN", b"9" * 4400, b"[" * 40]
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randint(0, 3)] = chance.choice(pieces)
        # When they are read, then what is accepted is what the standard parser reads, as clean text
        try:
            value = loads(bytes(data))
        except JsonFault:
            continue
        assert value == json.loads(data)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"alpha": NaN}', ("alpha",)),
        (b'{"a": {"b": [1, 1e999]}, "c": NaN}', ("a", "b", 1)),
        (b'{"a": ' + b"1" * 5000 + b"}", ("a",)),
        (b'{"<b>": NaN}', ()),  # the key could be anything: it is not repeated
        (b'{"a": NaN, oops', ()),
    ],
    ids=["nan", "deep", "digits", "key", "cut"],
)
def test_a_refused_number_is_told_with_its_place(data, path):
    with pytest.raises(JsonFault) as told:
        loads(data)
    assert told.value.path == path
