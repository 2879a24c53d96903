import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neftune_core import rows_tabular
from neftune_core.rows import InvalidDataset, Limits, read_rows, sniff
from neftune_core.rows_faults import DatasetTooLarge, UnknownFormat
from neftune_core.rows_tabular import convert
from tests.core.rows_made import ALPACA, CHAT, PROMPT, TOOL_SHARE, scan

SMALL = Limits(max_bytes=20_000_000, max_rows=1000)


def csv_file(folder, data):
    path = folder / "rows"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def parquet_file(folder, rows):
    path = folder / "rows"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def refused(path, **limits):
    with pytest.raises(InvalidDataset) as caught:
        convert(path, path.with_suffix(".jsonl"), Limits(**limits))
    assert not path.with_suffix(".jsonl").exists()
    (fault,) = caught.value.faults
    return fault.line, fault.code


# CSV


def test_csv_cells_may_hold_commas_quotes_newlines_and_formulas(tmp_path):
    path = csv_file(tmp_path, 'instruction,input,output\r\n"a, ""b""",,"c\nd"\r\n=cmd|x,1,@y\r\n')
    rows = list(read_rows(path))
    assert [[one.content for one in row.messages] for row in rows] == [['a, "b"', "c\nd"], ["=cmd|x", "@y"]]
    assert rows[1].messages[0].context == "1"


def test_csv_may_begin_with_a_byte_order_mark_and_hold_messages_as_json(tmp_path):
    path = csv_file(tmp_path, b'\xef\xbb\xbfmessages\n"[{""role"": ""assistant"", ""content"": ""hi""}]"\n')
    assert next(read_rows(path)).messages[0].content == "hi"


@pytest.mark.parametrize(
    ("data", "line", "code"),
    [
        ('prompt,completion\na,b\n"a"x,b\n', 3, "csv_invalid"),
        ("prompt,completion\na,b\na\n", 3, "csv_invalid"),
        ("prompt,completion\na,b,c\n", 2, "csv_invalid"),
        ('prompt,completion\na,"b\n', 2, "csv_invalid"),
        ("prompt,completion,prompt\na,b,c\n", 1, "duplicate_key"),
        (b"prompt,completion\na,b\na,\xff\n", None, "dataset_encoding"),
        (b"prompt,completion\na,\x00\n", 2, "forbidden_character"),
        ("messages\nhello\n", 2, "json_invalid"),
    ],
)
def test_csv_is_read_strictly(tmp_path, data, line, code):
    told = refused(csv_file(tmp_path, data))
    assert told == (line or told[0], code)


@pytest.mark.parametrize("header", ["instruction;output", "prompt\tcompletion", "a,b,text2,input"])
def test_csv_without_a_good_header_is_refused(tmp_path, header):
    path = csv_file(tmp_path, header + "\nx;y\n")
    with pytest.raises(UnknownFormat):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ('[{"role": "user", "role": "assistant", "content": "a"}]', "duplicate_key"),
        ('[{"role": "assistant", "content": "a", "weight": NaN}]', "non_finite_number"),
        ('[{"role": "assistant", "content": "a", "weight": 1e999}]', "non_finite_number"),
        ("[" * 1000 + "]" * 1000, "too_deep"),
        ('[{"role": "assistant", "content": "\\ud800"}]', "lone_surrogate"),
        ('[{"role": "assistant", "content": "\\u0000"}]', "forbidden_character"),
        ("[{", "json_invalid"),
    ],
)
def test_json_in_a_csv_cell_is_read_as_strictly_as_a_line(tmp_path, cell, code):
    quoted = cell.replace('"', '""')
    assert refused(csv_file(tmp_path, f'messages\n"{quoted}"\n')) == (2, code)


def test_a_csv_line_is_never_held_whole_when_it_is_too_long(tmp_path):
    path = csv_file(tmp_path, "prompt,completion\na,b\n" + "a" * 5000)
    assert refused(path, max_row_bytes=4096) == (3, "row_too_long")


def test_a_header_of_a_hundred_thousand_columns_costs_little(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_tabular, "CPU_SECONDS", 5)
    header = ",".join(["text", *(f"c{number}" for number in range(100_000))])
    with pytest.raises(UnknownFormat, match="1000 columns"):
        convert(csv_file(tmp_path, header + "\n"), tmp_path / "out", Limits())


def test_an_unknown_column_is_a_fault_of_the_rows(tmp_path):
    with pytest.raises(InvalidDataset) as caught:
        list(read_rows(csv_file(tmp_path, "instruction,ouput,output\na,b,c\n")))
    assert caught.value.counts == {"unknown_key": 1}


def test_csv_of_more_rows_or_bytes_than_allowed_is_refused_at_the_one_too_many(tmp_path):
    path = csv_file(tmp_path, "prompt,completion\n" + "a,b\n" * 1000)
    out = tmp_path / "out"
    line = len(b'{"prompt": "a", "completion": "b"}\n')  # many times a line of the table
    convert(path, out, Limits(max_rows=1000, max_bytes=1000 * line))
    assert out.stat().st_size == 1000 * line
    for limits in (Limits(max_rows=999), Limits(max_bytes=1000 * line - 1)):
        with pytest.raises(DatasetTooLarge):
            convert(path, out, limits)
        assert not out.exists()


# Parquet


@pytest.mark.parametrize("row", [ALPACA, PROMPT, CHAT, TOOL_SHARE])
def test_parquet_rows_are_those_of_json(tmp_path, row):
    path = parquet_file(tmp_path, [row] * 3)
    assert sniff(path.read_bytes()) == "parquet"
    out = tmp_path / "out"
    convert(path, out, Limits())
    assert scan(out.read_bytes()).rows == 3
    assert len(list(read_rows(path))) == 3


def test_parquet_nulls_in_structs_are_left_out(tmp_path):
    messages = [
        {"role": "user", "content": "a", "weight": None},
        {"role": "assistant", "content": "b", "weight": 0},
    ]
    (row,) = read_rows(parquet_file(tmp_path, [{"messages": messages}]))
    assert [one.weight for one in row.messages] == [1, 0]


def bomb(path, *, value_bytes, rows):
    """Write a small file whose one dictionary entry stands in every row: its metadata counts it once."""
    text = pa.array(["x" * value_bytes])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), text)
    pq.write_table(pa.table({"text": column}), path, compression="zstd")
    assert path.stat().st_size < 300_000
    return path


@pytest.mark.parametrize(("value_bytes", "rows"), [(500_000, 4000), (100_000_000, 600)])
def test_a_parquet_bomb_is_too_large(tmp_path, value_bytes, rows):
    path = bomb(tmp_path / "rows", value_bytes=value_bytes, rows=rows)
    out = tmp_path / "out"
    with pytest.raises(DatasetTooLarge):
        convert(path, out, SMALL if rows == 600 else Limits(max_bytes=20_000_000))
    assert not out.exists()


def test_a_small_parquet_file_may_not_unpack_to_gigabytes_even_within_the_limit(tmp_path):
    path = bomb(tmp_path / "rows", value_bytes=1_000_000, rows=2000)
    with pytest.raises(DatasetTooLarge):
        convert(path, tmp_path / "out", Limits(max_bytes=2**40))
    assert not (tmp_path / "out").exists()


def test_a_parquet_file_of_equal_rows_is_no_bomb(tmp_path):
    path = bomb(tmp_path / "rows", value_bytes=1000, rows=20_000)
    convert(path, tmp_path / "out", Limits())
    assert (tmp_path / "out").stat().st_size > 20_000_000


@pytest.mark.long  # the bombs beside it are as large
def test_what_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_tabular, "MEMORY_BYTES", 3 * 2**29)
    monkeypatch.setattr(rows_tabular, "UNPACKS_FREELY", 10**12)
    path = bomb(tmp_path / "rows", value_bytes=300_000_000, rows=1)
    with pytest.raises(DatasetTooLarge, match="than can be read"):
        convert(path, tmp_path / "out", Limits(max_bytes=10**12))


def test_a_thousand_columns_are_the_most(tmp_path):
    names = ["text", *(f"c{number}" for number in range(1000))]
    table = pa.Table.from_arrays([pa.array(["a"])] * len(names), names=names)
    pq.write_table(table, tmp_path / "rows")
    with pytest.raises(UnknownFormat, match="1000 columns"):
        convert(tmp_path / "rows", tmp_path / "out", Limits())


def test_a_parquet_column_twice_is_refused(tmp_path):
    column = pa.array(["a"])
    pq.write_table(pa.Table.from_arrays([column, column], names=["text", "text"]), tmp_path / "rows")
    assert refused(tmp_path / "rows") == (1, "duplicate_key")


def test_more_rows_than_allowed_are_refused_before_they_are_read(tmp_path):
    path = bomb(tmp_path / "rows", value_bytes=10, rows=2000)
    with pytest.raises(DatasetTooLarge, match="rows"):
        convert(path, tmp_path / "out", SMALL)


@pytest.mark.parametrize("keep", [4, 8, 100, -1, -9])
def test_a_cut_parquet_file_is_refused(tmp_path, keep):
    path = parquet_file(tmp_path, [ALPACA] * 50)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnknownFormat):
        convert(path, tmp_path / "out", Limits())


def test_flipped_bytes_give_rows_or_a_refusal(tmp_path):
    chance = random.Random(3)
    whole = parquet_file(tmp_path, [CHAT] * 20).read_bytes()
    for _ in range(8):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(4, len(data))] ^= 1 << chance.randrange(8)
        path = csv_file(tmp_path, bytes(data))
        try:
            convert(path, tmp_path / "out", Limits())
        except (UnknownFormat, InvalidDataset, DatasetTooLarge):
            continue


@pytest.mark.parametrize("rows", [[{"foo": 1}], [{"text": b"\x00\x01"}]])
def test_columns_we_do_not_know_are_refused(tmp_path, rows):
    with pytest.raises((UnknownFormat, InvalidDataset)):
        list(read_rows(parquet_file(tmp_path, rows)))


def test_the_child_gets_no_secret_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary")
    seen = []
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *args, **options: (seen.append(options["env"]), run(*args, **options))[1]
    )
    convert(parquet_file(tmp_path, [ALPACA]), tmp_path / "out", Limits())
    assert seen
    assert "canary" not in str(seen)


def test_a_child_that_takes_too_much_time_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_tabular, "CPU_SECONDS", 1)
    monkeypatch.setattr(rows_tabular, "UNPACKS_FREELY", 10**12)
    path = bomb(tmp_path / "rows", value_bytes=900_000, rows=100_000)
    with pytest.raises(DatasetTooLarge, match="read"):
        convert(path, tmp_path / "out", Limits(max_bytes=10**12))
    assert not (tmp_path / "out").exists()


def test_the_parent_never_loads_pyarrow():
    code = "import sys, neftune_core.rows; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
