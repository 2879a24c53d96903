"""Unpacking the adapter: what it should hold, and what is refused."""

import io
import tarfile

import pytest

from standalone.demo import adapter
from standalone.errors import DemoFailed


def _archive(path, *members):
    with tarfile.open(path, "w") as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"x")
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


GOOD = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/README.md")


def test_plain_files_are_written(tmp_path):
    written = adapter.unpack(_archive(tmp_path / "a.tar", *GOOD), tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in written} == set(GOOD)
    assert (tmp_path / "out" / "adapter" / "README.md").read_bytes() == b"x"


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "adapter/../../escaped", "other/escaped", "escaped"]
)
def test_a_name_outside_the_folder_is_refused(tmp_path, name):
    with pytest.raises(DemoFailed, match="no plain file"):
        adapter.unpack(_archive(tmp_path / "a.tar", *GOOD, name), tmp_path / "out")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("adapter/link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(DemoFailed, match="no plain file"):
        adapter.unpack(_archive(tmp_path / "a.tar", *GOOD, (info, b"")), tmp_path / "out")


def test_an_archive_without_weights_is_refused(tmp_path):
    with pytest.raises(DemoFailed, match=r"lacks adapter_model\.safetensors"):
        adapter.unpack(_archive(tmp_path / "a.tar", GOOD[0]), tmp_path / "out")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter, "MOST_BYTES", 2)
    with pytest.raises(DemoFailed, match="more than 2 bytes"):
        adapter.unpack(_archive(tmp_path / "a.tar", *GOOD), tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"<html>not found</html>")
    with pytest.raises(DemoFailed, match="no archive"):
        adapter.unpack(tmp_path / "a.tar", tmp_path / "out")
