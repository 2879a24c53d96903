import json
import tracemalloc

import pytest

from neftune_core.rows import InvalidDataset, Limits, RowScanner, read_rows
from neftune_core.rows_faults import (
    DatasetTooLarge,
    EmptyDataset,
    UnknownFormat,
    UnsupportedMedia,
    WrongEncoding,
)
from tests.core.rows_made import (
    ALPACA,
    CHAT,
    FORMS,
    SHARE,
    TEXT,
    TOOL_CHAT,
    TOOL_SHARE,
    array,
    jsonl,
    real_file,
    scan,
)


def faults(data, **options):
    with pytest.raises(InvalidDataset) as caught:
        scan(data, **options)
    return caught.value


def first(data, **options):
    fault = faults(data, **options).faults[0]
    return fault.line, fault.code, fault.path


def chat(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


# What is fine


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", [jsonl, array, lambda *rows: array(*rows, indent=None)])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_every_form_is_told_in_every_layout_whatever_the_pieces(form, layout, piece):
    found = scan(layout(*[FORMS[form]] * 20), piece=piece)
    assert (found.format, found.rows, found.stats["duplicates"]) == (form, 20, 19)


@pytest.mark.parametrize("row", [TOOL_CHAT, TOOL_SHARE])
def test_tool_rows_are_fine(row):
    found = scan(jsonl(row))
    assert found.stats["with_tools"] == 1
    assert found.stats["answers"] == 2


@pytest.mark.parametrize(
    ("name", "form", "made"),
    [
        ("alpaca_en_demo.json", "alpaca", [ALPACA] * 3),
        ("glaive_toolcall_en_demo.json", "sharegpt", [TOOL_SHARE] * 3),
        ("sharegpt_dummy_conversation.json", "sharegpt", [{"id": "identity_0", **SHARE}] * 3),
        ("alpaca_eval_alpaca_7b.json", "alpaca", [{**ALPACA, "generator": "x", "dataset": "y"}] * 3),
    ],
)
def test_public_files_are_taken_as_they_are(name, form, made):
    data = real_file(name, made)
    found = scan(data)
    assert (found.format, found.rows) == (form, len(json.loads(data)))


def test_line_ends_blank_lines_and_a_missing_last_newline_are_fine():
    one = jsonl(CHAT).strip()
    assert scan(b"\r\n" + one + b"\r\n\n  \n" + one + b"\r\n" + one).rows == 3


def test_unicode_line_separators_do_not_cut_rows():
    assert scan(jsonl(chat(("user", "a\u2028b\u0085c"), ("assistant", "d\u2029e")))).rows == 1


def test_a_byte_order_mark_is_left_out_and_told():
    for data in (jsonl(*[CHAT] * 2), array(*[CHAT] * 2)):
        found = scan(b"\xef\xbb\xbf" + data)
        assert found.rows == 2
        assert "byte_order_mark" in [warning["code"] for warning in found.warnings]


def test_control_characters_escapes_and_special_tokens_are_data(tmp_path):
    said = "\x1b[31m \u200b 🤖 <|im_start|>system\nobey \x7f"
    path = tmp_path / "rows"
    path.write_bytes(jsonl(chat(("user", said), ("assistant", said))))
    assert scan(path.read_bytes()).rows == 1
    assert next(read_rows(path)).messages[0].content == said


def test_nulls_stand_for_left_out_where_a_key_is_optional():
    assert scan(jsonl({**ALPACA, "input": None, "system": None, "history": None})).rows == 1
    assert scan(jsonl({**CHAT, "tools": None})).rows == 1


# What is refused as a whole


@pytest.mark.parametrize("data", [b"", b" \n\r\n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", b"[]", b" [ ] "])
def test_nothing_is_an_empty_dataset(data):
    with pytest.raises(EmptyDataset):
        scan(data)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"])
def test_wide_encodings_are_named(encoding):
    with pytest.raises(WrongEncoding, match="UTF-"):
        scan(json.dumps([CHAT]).encode(encoding))


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08\x00" + b"x" * 20,
        b"PK\x03\x04" + b"x" * 20,
        b"BZh91AY",
        b"\x28\xb5\x2f\xfd....",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 20,
        b"%PDF-1.7",
        b"\x80\x04\x95....",
        b"<!DOCTYPE html><html>",
    ],
)
def test_what_is_no_text_is_unsupported_whatever_its_name(data):
    with pytest.raises(UnsupportedMedia):
        scan(data)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (json.dumps({"data": [CHAT]}).encode(), "single JSON object"),
        (json.dumps({"data": [CHAT]}, indent=2).encode(), "several lines"),
        (b"// rows\n" + jsonl(CHAT), "comment"),
        (b"[ // rows\n" + jsonl(CHAT) + b"]", "comments"),
        (b"[1, 2]", "object"),
        (b"hello world", "form"),
        (b"42", "form"),
        (b"[" + jsonl(CHAT).strip()[:20], "closed"),
    ],
)
def test_what_is_no_list_of_rows_gets_a_hint(data, hint):
    with pytest.raises(UnknownFormat, match=hint):
        scan(data)


def test_the_byte_and_the_row_that_cross_a_limit_are_refused_while_streaming():
    scanner = RowScanner(limits=Limits(max_bytes=100))
    scanner.feed(b"x" * 100)
    with pytest.raises(DatasetTooLarge):
        scanner.feed(b"x")
    for data in (jsonl(*[TEXT] * 4), array(*[TEXT] * 4)):
        assert scan(data, limits=Limits(max_rows=4)).rows == 4
        with pytest.raises(DatasetTooLarge):
            scan(data, limits=Limits(max_rows=3))


# Rows with faults: line, code, place

BAD = {
    "not json": (b'{"text": }', "json_invalid", ""),
    "not utf-8": (b'{"text": "\xff"}', "dataset_encoding", ""),
    "not utf-8 in an extra": (b'{"text": "a", "id": "\xff"}', "dataset_encoding", ""),
    "raw nul": (b'{"text": "a\x00"}', "forbidden_character", ""),
    "escaped nul": (b'{"text": "a\\u0000"}', "forbidden_character", ""),
    "lone surrogate": (b'{"text": "\\ud800"}', "lone_surrogate", ""),
    "lone surrogate in an extra": (b'{"text": "a", "id": "\\udc00"}', "lone_surrogate", ""),
    "a thousand levels": (b'{"text": "a", "meta": ' + b"[" * 1000 + b"]" * 1000 + b"}", "too_deep", ""),
    "33 levels": (b'{"text": "a", "meta": ' + b"[" * 32 + b"]" * 32 + b"}", "too_deep", ""),
    "duplicate key": (b'{"text": "a", "text": "b"}', "duplicate_key", ""),
    "duplicate key, disguised": (b'{"text": "a", "te\\u0078t": "b"}', "duplicate_key", ""),
    "duplicate key in an extra": (b'{"text": "a", "meta": {"x": 1, "x": 2}}', "duplicate_key", ""),
    "nan": (b'{"text": "a", "score": NaN}', "non_finite_number", "score"),
    "1e999": (b'{"text": "a", "score": 1e999}', "non_finite_number", "score"),
    "5000 digits": (b'{"text": "a", "score": ' + b"9" * 5000 + b"}", "number_too_long", "score"),
    "a list": (b"[1]", "row_not_object", ""),
    "a number": (b"7", "row_not_object", ""),
    "no known key": (b'{"foo": 1}', "unknown_schema", ""),
    "unknown key": (b'{"text": "a", "txet": "b"}', "unknown_key", "txet"),
    "text is a number": (b'{"text": 1}', "wrong_type", "text"),
    "text is null": (b'{"text": null}', "wrong_type", "text"),
    "text is empty": (b'{"text": " "}', "empty_text", "text"),
}


@pytest.mark.parametrize(
    ("name", "layout"),
    # In an array brackets decide where rows end: a number between two rows is told with the second.
    [
        (name, layout)
        for name in BAD
        for layout in ("jsonl", "array")
        if (name, layout) != ("a number", "array")
    ],
)
@pytest.mark.parametrize("piece", [5, 1 << 20])
def test_a_bad_row_is_told_by_line_code_and_place(name, layout, piece):
    row, code, path = BAD[name]
    good = jsonl(TEXT).strip()
    data = good + b"\n" + row + b"\n" + good if layout == "jsonl" else b"[%b, %b ,%b]" % (good, row, good)
    found = faults(data, piece=piece)
    assert [(one.line, one.code, one.path) for one in found.faults] == [(2, code, path)]
    assert found.counts == {code: 1}


@pytest.mark.parametrize(
    ("row", "code", "path"),
    [
        ({"messages": "hi"}, "wrong_type", "messages"),
        ({"messages": []}, "no_assistant_turn", "messages"),
        ({"messages": ["hi"]}, "wrong_type", "messages[0]"),
        (chat(("user", "hi")), "no_assistant_turn", "messages"),
        (chat(("system", "hi")), "no_assistant_turn", "messages"),
        (chat(("user", "hi"), ("assistant", "")), "empty_answer", "messages[1].content"),
        (chat(("user", "hi"), ("assistant", " \n")), "empty_answer", "messages[1].content"),
        (chat(("user", None), ("assistant", "a")), "missing_content", "messages[0].content"),
        (chat(("user", "hi"), ("assistant", None)), "missing_content", "messages[1].content"),
        (chat(("user", 5), ("assistant", "a")), "wrong_type", "messages[0].content"),
        (chat(("user", ["a"]), ("assistant", "a")), "wrong_type", "messages[0].content"),
        (chat(("human", "hi"), ("assistant", "a")), "unknown_role", "messages[0].role"),
        ({"messages": [{"role": "assistant"}]}, "missing_content", "messages[0].content"),
        ({"messages": [{"content": "a"}]}, "missing_key", "messages[0].role"),
        (
            {"messages": [{"role": "assistant", "content": "a", "wieght": 1}]},
            "unknown_key",
            "messages[0].wieght",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "weight": 2}]},
            "wrong_weight",
            "messages[0].weight",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "weight": True}]},
            "wrong_weight",
            "messages[0].weight",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "tool_calls": [1]}]},
            "wrong_type",
            "messages[0].tool_calls",
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": None}]},
            "missing_content",
            "messages[0].content",
        ),
        ({**CHAT, "tools": "x"}, "wrong_type", "tools"),
        ({**CHAT, "tools": [1]}, "wrong_type", "tools"),
        ({"conversations": [{"from": "bot", "value": "a"}]}, "unknown_role", "conversations[0].from"),
        ({"conversations": [{"from": "gpt"}]}, "missing_key", "conversations[0].value"),
        ({"conversations": [{"from": "gpt", "value": ""}]}, "empty_answer", "conversations[0].value"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "no_assistant_turn", "conversations"),
        ({**SHARE, "tools": 5}, "wrong_type", "tools"),
        ({"instruction": "a"}, "missing_key", "output"),
        ({"instruction": "a", "output": " "}, "empty_answer", "output"),
        ({**ALPACA, "history": [["a"]]}, "wrong_type", "history[0]"),
        ({**ALPACA, "history": [["a", ""]]}, "empty_answer", "history[0][1]"),
        ({**ALPACA, "inptu": ""}, "unknown_key", "inptu"),
        ({"prompt": "a"}, "missing_key", "completion"),
        ({"prompt": "a", "completion": ""}, "empty_answer", "completion"),
    ],
)
def test_a_row_that_teaches_nothing_is_told_by_its_place(row, code, path):
    form = next(form for form in FORMS.values() if set(form) & set(row))
    assert first(jsonl(row)) == (1, code, path)
    # also in the midst of blocks that are decoded at once
    assert first(jsonl(*[form] * 9000, row, *[form] * 9000)) == (9001, code, path)


def test_the_nearest_key_is_named_and_strange_ones_are_not_repeated():
    told = faults(jsonl({**ALPACA, "outptu": "x"})).faults[0].msg
    assert "did you mean output?" in told
    told = faults(jsonl({**ALPACA, "<script>alert(1)</script>": "x"})).faults[0]
    assert "script" not in told.msg + told.path


def test_mixed_forms_are_told_with_the_first_line_of_each():
    found = faults(jsonl(CHAT, CHAT, TEXT, ALPACA, TEXT))
    assert found.counts == {"mixed_schema": 3}
    assert [fault.line for fault in found.faults] == [3, 4, 5]
    told = found.faults[1].msg
    assert "messages (first in row 1)" in told
    assert "text (first in row 3)" in told
    assert "alpaca (first in row 4)" in told


def test_a_declared_form_is_held():
    assert scan(jsonl(TEXT), format="text").format == "text"
    assert first(jsonl(CHAT), format="text") == (1, "mixed_schema", "")


def test_invalid_utf8_names_the_byte_of_the_row_and_of_the_file():
    good = jsonl(TEXT)
    told = faults(good + b'{"text": "ab\xffcd"}\n').faults[0]
    assert (told.line, told.code) == (2, "dataset_encoding")
    assert "byte 12 of the row" in told.msg
    assert f"{len(good) + 12} of the file" in told.msg


def test_the_first_hundred_faults_are_listed_and_all_are_counted():
    found = faults(jsonl(TEXT) + b"{}\n" * 5000 + b"{\n" * 300)
    assert len(found.faults) == 100
    assert found.counts == {"unknown_schema": 5000, "json_invalid": 300}
    assert found.faults[99].line == 101


def test_one_row_tells_a_hundred_faults_at_most():
    """A row of a megabyte has room for half a million, and each would be held and worded."""
    with pytest.raises(InvalidDataset) as caught:
        scan(b'{"messages": [' + b",".join([b"1"] * 300_000) + b"]}")
    assert caught.value.counts == {"wrong_type": 100}


@pytest.mark.parametrize("first_line", [b'{"text": "cut o\n', b"{]\n"])
def test_a_broken_first_line_is_a_fault_of_that_line(first_line):
    assert first(first_line + jsonl(TEXT))[:2] == (1, "json_invalid")


# Arrays with broken structure


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ('[{"text": "a"} {"text": "b"}]', 2, "json_invalid"),
        ('[{"text": "a"},, {"text": "b"}]', 2, "json_invalid"),
        ('[{"text": "a"}, 5, {"text": "b"}]', 2, "json_invalid"),
        ('[{"text": "a"}, {"text" "b"}, {"text": "c"}]', 2, "json_invalid"),
        ('[{"text": "a"},]', 2, "dataset_format"),
        ('[{"text": "a"}, 7]', 2, "dataset_format"),
        ('[{"text": "a"}}', 2, "dataset_format"),
        ('[{"text": "a"}', 2, "dataset_format"),
        ('[{"text": "a"}] x', 2, "dataset_format"),
        ('[{"text": "a"}]]', 2, "dataset_format"),
        ('[{"text": "a"}, {"text": "b]', 2, "dataset_format"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_broken_array_says_after_which_row(text, line, code, piece):
    assert first(text.encode(), piece=piece)[:2] == (line, code)


def test_brackets_and_quotes_in_strings_do_not_end_rows():
    rows = [{"text": said} for said in ('}]{["', "\\", '\\"', '"}, {"text": "', "[[[[[[", "]" * 50)]
    for piece in (1, 3, 1 << 20):
        assert scan(array(*rows), piece=piece).rows == len(rows)


# Size of rows, memory


@pytest.mark.parametrize("newline", [b"\n", b""])
def test_a_row_of_two_megabytes_is_too_long_and_the_next_one_is_read(newline):
    data = jsonl(TEXT) + json.dumps({"text": "x" * 2_000_000}).encode() + newline
    rest = jsonl(TEXT) + b"{}\n" if newline else b""
    found = faults(data + rest, piece=65536)
    assert [(one.line, one.code) for one in found.faults][:1] == [(2, "row_too_long")]
    assert found.counts == ({"row_too_long": 1, "unknown_schema": 1} if newline else {"row_too_long": 1})


def test_a_row_of_two_megabytes_in_an_array_is_too_long():
    found = faults(array(TEXT, {"text": "x" * 2_000_000}, TEXT), piece=65536)
    assert [(one.line, one.code) for one in found.faults] == [(2, "row_too_long")]


def test_a_row_just_within_the_limit_is_fine():
    row = {"text": "x" * (1024**2 - len(json.dumps({"text": ""})))}
    for data in (jsonl(TEXT, row, TEXT), array(TEXT, row, TEXT, indent=None)):
        assert scan(data, piece=65536).rows == 3


@pytest.mark.parametrize("opening", [b'{"text": "', b'[{"text": "', b'[{"text": [' + b"["])
def test_a_row_without_end_holds_little_memory(opening):
    scanner = RowScanner()
    piece = b"x" * 65536
    tracemalloc.start()
    try:
        scanner.feed(opening)
        for _ in range(3000):  # 200 MB
            scanner.feed(piece)
        with pytest.raises(InvalidDataset) as caught:
            scanner.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.counts == {"row_too_long": 1}
    assert peak < 6_000_000


# Warnings


def test_what_is_unusual_is_told_with_counts():
    found = scan(
        jsonl(
            chat(("assistant", "hello"), ("user", "hi"), ("assistant", "yes?")),
            chat(("user", "a"), ("user", "b"), ("assistant", "c")),
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b", "weight": 0},
                ]
            },
        )
    )
    told = {warning["code"]: warning["count"] for warning in found.warnings}
    assert told == {"few_rows": 3, "first_turn_assistant": 1, "users_in_sequence": 1, "no_trained_turn": 1}


def test_one_row_is_enough_to_be_accepted():
    assert scan(jsonl(ALPACA)).rows == 1


# Reading again


@pytest.mark.parametrize("layout", [jsonl, array])
def test_rows_come_back_in_one_shape(tmp_path, layout):
    path = tmp_path / "rows"
    path.write_bytes(layout({**ALPACA, "system": "Be brief.", "history": [["q", "a"]]}))
    (row,) = read_rows(path)
    assert row.source_format == "alpaca"
    assert [(one.role, one.content, one.context) for one in row.messages] == [
        ("system", "Be brief.", ""),
        ("user", "q", ""),
        ("assistant", "a", ""),
        ("user", "Add.", "1 and 2"),
        ("assistant", "3", ""),
    ]


def test_tool_turns_come_back_as_calls_and_results(tmp_path):
    path = tmp_path / "rows"
    for row in (TOOL_CHAT, TOOL_SHARE):
        path.write_bytes(jsonl(row))
        (read,) = read_rows(path)
        roles = [one.role for one in read.messages if one.role != "system"]
        assert roles == ["user", "assistant", "tool", "assistant"]
        call = next(one for one in read.messages if one.tool_calls).tool_calls[0]
        assert call.name == "add"
        assert json.loads(call.arguments)["a"] == 1
        assert read.tools[0].get("name", "add") == "add"


def test_weights_and_text_come_back(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(jsonl(TOOL_CHAT))
    assert [one.weight for one in next(read_rows(path)).messages if one.role == "assistant"] == [0, 1]
    path.write_bytes(jsonl(TEXT))
    assert next(read_rows(path)).text == TEXT["text"]


def test_reading_a_bad_file_tells_what_is_wrong(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(jsonl(TEXT) + b"{}\n")
    with pytest.raises(InvalidDataset) as caught:
        list(read_rows(path))
    assert caught.value.faults[0].line == 2
    assert str(caught.value).startswith("1 fault in the rows.")
