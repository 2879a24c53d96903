"""Unpacking what was downloaded: plain files of one folder, whole or not at all."""

import io
import tarfile

import pytest

from neftune_client.archive import unpack
from neftune_client.errors import ArchiveRefused, BadInput


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
    written = unpack(_archive(tmp_path / "a.tar", *GOOD), tmp_path / "out" / "adapter")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in written} == set(GOOD)
    assert (tmp_path / "out" / "adapter" / "README.md").read_bytes() == b"x"


def _refused(tmp_path, why, *members):
    with pytest.raises(ArchiveRefused, match=why):
        unpack(_archive(tmp_path / "a.tar", *GOOD, *members), tmp_path / "out" / "adapter")
    assert not list(tmp_path.rglob("escaped"))
    assert not list((tmp_path / "out").iterdir()), "nothing is kept"


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "adapter/../../escaped", "other/escaped", "escaped", "adapter"]
)
def test_a_name_outside_the_folder_is_refused(tmp_path, name):
    _refused(tmp_path, "no plain file", name)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("adapter/link")
    info.type, info.linkname = kind, "/etc/passwd"
    _refused(tmp_path, "no plain file", (info, b""))


def test_a_name_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(ArchiveRefused, match="twice"):
        unpack(_archive(tmp_path / "a.tar", *GOOD, GOOD[0]), tmp_path / "out" / "adapter")


def test_a_file_of_holes_is_refused(tmp_path):
    archive = _archive(tmp_path / "a.tar", *GOOD)
    # Given a sparse member that says it is far larger than the archive
    holes = tarfile.TarInfo("adapter/holes")
    holes.size = 0
    holes.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,0"}
    with tarfile.open(archive, "a", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(holes)
    with pytest.raises(ArchiveRefused, match="more than its"):
        unpack(archive, tmp_path / "out" / "adapter")


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    kept = tmp_path / "adapter" / "mine"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        unpack(_archive(tmp_path / "a.tar", *GOOD), tmp_path / "adapter")
    assert kept.read_text() == "mine"


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"<html>not found</html>")
    with pytest.raises(ArchiveRefused, match="no archive"):
        unpack(tmp_path / "a.tar", tmp_path / "adapter")
