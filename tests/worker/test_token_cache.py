"""Tokens that runs leave for others: whose they are, what is taken, and how much is kept."""

import os
from pathlib import Path

import pytest

from tests.worker_house import House
from worker.token_cache import TokenCache


def kept(folder: Path) -> dict[str, bytes]:
    tokens = folder / "tokens"
    return {one.name: one.read_bytes() for one in tokens.iterdir()} if tokens.exists() else {}


def left(folder: Path, content: bytes) -> Path:
    path = folder / "left"
    path.write_bytes(content)
    return path


def test_what_a_run_left_is_lent_to_the_next(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 100)
    cache.lend("a", tmp_path / "lent")
    assert not (tmp_path / "lent").exists()
    cache.take("a", left(tmp_path, b"one"))
    cache.lend("a", tmp_path / "lent")
    assert (tmp_path / "lent").read_bytes() == b"one"
    # It was lent a copy
    (tmp_path / "lent").write_bytes(b"spoilt")
    assert kept(tmp_path) == {"a": b"one"}


def test_the_one_that_was_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 10)
    for number, name in enumerate("abc"):
        cache.take(name, left(tmp_path, b"1234"))
        if name != "c":
            os.utime(tmp_path / "tokens" / name, (number, number))
    assert sorted(kept(tmp_path)) == ["b", "c"]
    os.utime(tmp_path / "tokens" / "c", (5, 5))
    cache.lend("b", tmp_path / "lent")
    cache.take("d", left(tmp_path, b"1234"))
    assert sorted(kept(tmp_path)) == ["b", "d"]


def test_what_is_too_large_no_file_or_not_there_is_not_taken(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 10)
    cache.take("a", left(tmp_path, b"x" * 11))
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe", "none"):
        cache.take(name, tmp_path / name)
    assert kept(tmp_path) == {}


def test_what_was_there_already_is_not_taken_again(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 10)
    cache.take("a", left(tmp_path, b"one"))
    made = (tmp_path / "tokens" / "a").stat().st_ino
    cache.take("a", left(tmp_path, b"one"))
    assert (tmp_path / "tokens" / "a").stat().st_ino == made
    cache.take("a", left(tmp_path, b"two"))
    assert kept(tmp_path) == {"a": b"two"}


@pytest.mark.parametrize(("most", "share"), [("1000", True), ("0", False)])
def test_runs_on_the_same_rows_share_and_on_others_do_not(house: House, most: str, share: bool) -> None:
    rows = house.dataset().id
    house.start(TOKEN_CACHE_BYTES=most)
    for alpha, seed in ((0.0, 1), (5.0, 1), (5.0, 2)):
        job = house.submit("steps=1 tokens=1", dataset=rows, alpha=alpha, training={"seed": seed})
        house.wait(job, "succeeded")
    work = Path(house.environ["WORK_DIR"])
    assert list(kept(work).values()) == ([b"xxx"] if share else [])
    other = house.submit("steps=1 tokens=1", dataset=rows, training={"max_length": 99})
    house.wait(other, "succeeded")
    assert sorted(kept(work).values()) == ([b"x", b"xxx"] if share else [])
