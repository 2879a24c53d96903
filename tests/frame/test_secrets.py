"""The secrets of a compose installation: made once, handed out narrowly, read at start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[2] / "docker"


def make_secrets(root: Path) -> dict[str, str]:
    subprocess.run([sys.executable, DOCKER / "init_secrets.py", root], check=True)
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def start(folder: Path, *command: str, **env: str) -> str:
    """What a service prints that is started through the entrypoint."""
    given = {"PATH": os.environ["PATH"], "SECRETS_DIR": str(folder), **env}
    entrypoint = [DOCKER / "entrypoint", *command]
    return subprocess.run(entrypoint, env=given, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_secrets(tmp_path)
    return tmp_path


def test_a_second_start_changes_nothing(root: Path):
    before = make_secrets(root)
    assert make_secrets(root) == before


def test_two_installations_share_no_secret(tmp_path: Path):
    one, other = make_secrets(tmp_path / "one"), make_secrets(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_a_start_that_was_cut_short_is_completed_by_the_next(root: Path):
    before = make_secrets(root)
    (root / "redis" / "redis.conf").unlink()
    (root / "worker" / "DATABASE_URL").rename(root / "worker" / ".DATABASE_URL.part")
    assert make_secrets(root) == before


def test_nobody_else_can_read_them(root: Path):
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o400}


def test_each_belongs_to_the_user_that_reads_it(root: Path):
    users = {"vault": 0, "api": 10001, "worker": 10001, "postgres": 999, "redis": 999, "storage": 0}
    can_give_away = os.geteuid() == 0  # as in the init container
    for folder, user in users.items():
        owners = {path.stat().st_uid for path in (root / folder).iterdir()}
        assert owners == {user if can_give_away else os.geteuid()}


def test_both_sides_of_a_door_hold_the_same_key(root: Path):
    files = make_secrets(root)
    assert f":{files['postgres/password']}@postgres:" in files["api/DATABASE_URL"]
    assert f":{files['redis/password']}@redis:" in files["worker/REDIS_URL"]
    assert files["redis/redis.conf"] == f"requirepass {files['redis/password']}\n"
    (identity,) = json.loads(files["storage/s3.json"])["identities"]
    assert identity["credentials"] == [
        {"accessKey": files["api/AWS_ACCESS_KEY_ID"], "secretKey": files["api/AWS_SECRET_ACCESS_KEY"]}
    ]


def test_the_worker_holds_no_key_to_the_api(root: Path):
    files = make_secrets(root)
    key = files["api/NEFTUNE_API_KEY"]
    assert {name for name in files if files[name] == key} == {"api/NEFTUNE_API_KEY", "vault/api_key"}


def test_a_service_finds_its_secrets_in_its_environment(root: Path):
    seen = dict(line.split("=", 1) for line in start(root / "worker", "env").splitlines())
    assert seen["DATABASE_URL"] == (root / "worker" / "DATABASE_URL").read_text()
    assert seen["AWS_SECRET_ACCESS_KEY"] == (root / "worker" / "AWS_SECRET_ACCESS_KEY").read_text()


def test_what_the_operator_sets_wins(root: Path):
    told = start(root / "api", "sh", "-c", "echo $DATABASE_URL", DATABASE_URL="postgresql://mine/db")
    assert told == "postgresql://mine/db\n"


def test_a_file_that_is_no_secret_is_left_alone(tmp_path: Path):
    (tmp_path / "x;touch oops").write_text("v")
    start(tmp_path, "true")
    assert not Path("oops").exists()


def test_the_exit_status_is_the_services_own(tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError) as died:
        start(tmp_path, "sh", "-c", "exit 75")
    assert died.value.returncode == 75


def test_the_service_takes_the_entrypoints_place_and_so_hears_its_signals(tmp_path: Path):
    env = {"PATH": os.environ["PATH"], "SECRETS_DIR": str(tmp_path)}
    command = [DOCKER / "entrypoint", "sh", "-c", "echo $$"]
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    told, _ = started.communicate(timeout=10)
    assert int(told) == started.pid
