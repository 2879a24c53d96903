"""The home: one instance at a time, secrets for one user only."""

import os
import stat
from pathlib import Path

import pytest

from neftune_store.sealing import keys_in
from standalone.errors import HomeBusy, HomeUnusable
from standalone.home import Home
from standalone.settings import StandaloneSettings
from tests.standalone.processes import IS_ROOT, NOBODY, python


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_instance_is_told_who_is_there(home: Path) -> None:
    with Home(home) as first:
        first.announce("http://127.0.0.1:8000")
        with pytest.raises(HomeBusy) as refused, Home(home):
            pass
    said = str(refused.value)
    assert f"process {os.getpid()}, http://127.0.0.1:8000" in said
    assert str(home) in said
    assert "NEFTUNE_HOME" in said


def test_the_lock_goes_with_the_process(home: Path) -> None:
    holder = python(
        "import sys, time, pathlib; from standalone.home import Home\n"
        "with Home(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)",
        home,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(HomeBusy), Home(home):
        pass
    holder.kill()
    holder.communicate()
    with Home(home):
        pass


def test_a_key_is_made_once_and_is_for_this_user_only(home: Path) -> None:
    with Home(home) as opened:
        key = opened.api_key(None)
    with Home(home) as opened:
        assert opened.api_key(None) == key
    assert key.startswith("nft_")
    assert len(key) == 47
    assert mode(home / "secrets" / "api-key") == 0o600
    assert mode(home / "secrets") == 0o700


def test_the_key_of_secrets_is_made_once_and_is_for_this_user_only(home: Path) -> None:
    with Home(home) as opened:
        key = opened.secret_key()
    with Home(home) as opened:
        assert opened.secret_key() == key
    assert [len(one) for one in keys_in(key)] == [32]
    assert mode(home / "secrets" / "secret-key") == 0o600


def test_the_first_preset_key_is_kept_and_a_later_one_only_used(home: Path) -> None:
    with Home(home) as opened:
        assert opened.api_key("nft_first_preset_key") == "nft_first_preset_key"
        assert opened.api_key(None) == "nft_first_preset_key"
        assert opened.api_key("nft_second_preset_key") == "nft_second_preset_key"
        assert opened.api_key(None) == "nft_first_preset_key"
    assert mode(home / "secrets" / "api-key") == 0o600


def test_a_new_home_is_closed_for_others_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        with Home(home / "new") as opened:
            opened.api_key(None)
    finally:
        os.umask(before)
    assert all(mode(path) in (0o700, 0o600) for path in (home / "new").rglob("*"))
    assert mode(home / "new") == 0o700


def test_a_home_where_others_may_write_is_closed_for_writing(home: Path) -> None:
    home.chmod(0o777)
    with Home(home):
        assert mode(home) == 0o755


def test_a_file_in_the_place_of_the_home_is_named(home: Path) -> None:
    place = home / "file"
    place.touch()
    with pytest.raises(HomeUnusable, match=str(place)), Home(place):
        pass


def test_a_large_log_is_put_aside(home: Path) -> None:
    with Home(home) as opened:
        path = opened.log("api")
        with path.open("wb") as file:
            file.truncate(17 * 1024**2)
        assert not opened.log("api").exists()
        assert path.with_suffix(".log.1").exists()


@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_the_home_of_another_user_is_refused_and_left_alone(home: Path) -> None:
    os.chown(home, NOBODY, NOBODY)
    with pytest.raises(HomeUnusable, match="belongs to another user"), Home(home):
        pass
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_an_ordinary_user_is_told_when_the_home_is_out_of_reach(home: Path) -> None:
    tried = python(
        "from standalone.__main__ import main; raise SystemExit(main(['up']))",
        as_nobody=True,
        NEFTUNE_HOME=str(home / "inside"),
    )
    said, _ = tried.communicate(timeout=60)
    assert tried.returncode == 1
    assert "Permission denied" in said
    assert "Set NEFTUNE_HOME" in said
    assert "Traceback" not in said


def test_the_default_home_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEFTUNE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert StandaloneSettings().home() == Path("/home/ada/.local/share/neftune")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert StandaloneSettings().home() == Path("/var/lib/neftune")


def test_the_demo_has_a_home_of_its_own_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEFTUNE_HOME", raising=False)
    assert StandaloneSettings().home("neftune-demo").name == "neftune-demo"
    monkeypatch.setenv("NEFTUNE_HOME", "/srv/here")
    assert StandaloneSettings().home("neftune-demo") == Path("/srv/here")
