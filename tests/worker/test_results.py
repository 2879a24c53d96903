"""What a run leaves: tar files, tables, logs, folders."""

import csv
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.worker_house import until
from worker import metrics_csv, workdir
from worker.archive import files_under, open_plain, pack, result_path
from worker.errors import ResultRefused
from worker.logs import LogCapture


def folder(root: Path, name: str = "adapter") -> Path:
    made = root / name
    (made / "deep").mkdir(parents=True)
    (made / "b.json").write_text("{}")
    (made / "a.safetensors").write_bytes(b"\x00" * 1000)
    (made / "deep" / "c").write_text("c")
    return made


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tar_depends_on_names_and_bytes_alone(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "1"), folder(tmp_path / "2")
    os.utime(second / "b.json", (1, 1))
    (second / "b.json").chmod(0o600)
    for number, made in enumerate((first, second)):
        pack(made, tmp_path / f"{number}.tar")
    assert digest(tmp_path / "0.tar") == digest(tmp_path / "1.tar")
    with tarfile.open(tmp_path / "0.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == [
        "adapter/a.safetensors",
        "adapter/b.json",
        "adapter/deep/c",
    ]
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {
        (0, 0, "", 0o644)
    }


def test_changed_bytes_change_the_tar(tmp_path: Path) -> None:
    made = folder(tmp_path)
    pack(made, tmp_path / "0.tar")
    (made / "b.json").write_text("[]")
    pack(made, tmp_path / "1.tar")
    assert digest(tmp_path / "0.tar") != digest(tmp_path / "1.tar")


@pytest.mark.parametrize(
    "said", ["/etc", "../x", "adapter/../../x", "", "missing", "link", "link/passwd", "a\x00b"]
)
def test_a_result_that_leads_outside_is_refused(tmp_path: Path, said: str) -> None:
    folder(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ResultRefused):
        result_path(tmp_path, said)


def test_a_folder_with_a_link_in_it_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path)
    (made / "deep" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ResultRefused):
        files_under(made)
    with pytest.raises(OSError, match="symbolic links"):
        open_plain(made / "deep" / "link")


def test_an_empty_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultRefused):
        files_under(tmp_path / "empty")
    made = folder(tmp_path)
    os.mkfifo(made / "pipe")
    with pytest.raises(ResultRefused):
        files_under(made)


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    assert [metrics_csv.cell(value) for value in ("=1+1", "+x", "-x", "@x", "x", -1.5, None)] == [
        *("'=1+1", "'+x", "'-x", "'@x", "x", -1.5, "")
    ]
    rows = [(0, {"eval_loss": 2.5}), (1, {"train_loss": -0.5, "=cmd": 1.0})]
    metrics_csv.write(tmp_path / "m.csv", metrics_csv.columns(rows), rows)
    with (tmp_path / "m.csv").open(newline="") as source:
        assert list(csv.reader(source)) == [
            ["step", "train_loss", "eval_loss", "'=cmd"],
            ["0", "", "2.5", ""],
            ["1", "-0.5", "", "1.0"],
        ]


def test_result_files_name_our_metrics_as_their_readers_do(tmp_path: Path) -> None:
    rows = [(1, {"train_loss": 2.0, "token_accuracy": 0.5, "eval_loss": 3.0, "grad_norm": 4.0})]
    heads, keys = zip(*metrics_csv.results(rows), strict=True)
    metrics_csv.write(tmp_path / "r.csv", keys, rows, heads)
    with (tmp_path / "r.csv").open(newline="") as source:
        assert list(csv.reader(source)) == [
            ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy", "grad_norm"],
            ["1", "2.0", "0.5", "3.0", "", "4.0"],
        ]


def captured(tmp_path: Path, data: bytes, most: int = 1000) -> tuple[str, bytes]:
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as source:
        capture = LogCapture(source, tmp_path / "log", most)
        with os.fdopen(write_fd, "wb") as sink:
            sink.write(data)
        capture.finish()
        return capture.tail(), (tmp_path / "log").read_bytes()


def test_a_log_keeps_its_beginning_and_its_last_lines(tmp_path: Path) -> None:
    tail, kept = captured(tmp_path, b"".join(b"line %d\n" % n for n in range(5000)))
    assert kept.startswith(b"line 0\nline 1\n")
    assert len(kept) < 1100
    assert tail.splitlines()[0] == "line 4800"
    assert tail.splitlines()[-1] == "line 4999"


def test_a_log_without_an_end_of_line_costs_no_memory(tmp_path: Path) -> None:
    tail, _ = captured(tmp_path, b"x" * 5_000_000)
    assert len(tail) < 10_000


def test_a_log_of_any_bytes_becomes_text(tmp_path: Path) -> None:
    tail, kept = captured(tmp_path, b"\xff\x00\xfe\r\nlast")
    assert kept == b"\xff\x00\xfe\r\nlast"
    assert "\x00" not in tail
    assert tail.endswith("last")


def test_a_private_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with workdir.private_folder(tmp_path / "work", "run_1") as made:
        assert {one.stat().st_mode & 0o777 for one in (made, made.parent, made / "out")} == {0o700}
        assert (made / "out").is_dir()
        assert workdir.sweep(tmp_path / "work") == []  # its owner lives
    assert not made.exists()


def test_a_folder_is_swept_when_its_owner_was_killed(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from worker.workdir import private_folder
with private_folder(Path({str(tmp_path)!r}), "run_1"):
    print("made", flush=True)
    os.read(0, 1)
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    owner.stdout.readline()
    assert workdir.sweep(tmp_path) == []
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    assert workdir.sweep(tmp_path) == ["run-run_1"]
    assert until(lambda: not list(tmp_path.glob("run-*")) or None, 1)
