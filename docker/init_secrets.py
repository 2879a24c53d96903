"""Make the secrets of a compose installation: once, random, each service its own folder.

The vault folder is the truth. The other folders hold what one service needs, derived from it and readable
by that service's user alone; whatever is missing there is written again, so a second run changes nothing
and a run that was cut short is completed by the next. Standard library only.
"""

import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

APP, POSTGRES, REDIS, STORAGE = 10001, 999, 999, 0  # the users these images run as
BUCKET = "neftune"


def _token() -> str:
    return secrets.token_urlsafe(32)  # 256 bits, safe in URLs and configuration files


def _api_key() -> str:
    return "nft_" + _token()


VAULT: Mapping[str, Callable[[], str]] = {
    "postgres_password": _token,
    "redis_password": _token,
    "s3_access_key": _token,
    "s3_secret_key": _token,
    "api_key": _api_key,
    "secret_key": _token,
}


def write_once(path: Path, content: str, owner: int) -> None:
    """Write a file whole or not at all; leave one that exists as it is."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0:
        os.chown(part, owner, owner)
    part.rename(path)


def vault(root: Path) -> dict[str, str]:
    """Return the secrets of this installation, made up where they do not exist yet."""
    for name, make in VAULT.items():
        write_once(root / "vault" / name, make(), owner=0)
    return {name: (root / "vault" / name).read_text() for name in VAULT}


def storage_identities(known: Mapping[str, str]) -> str:
    """Say in SeaweedFS's words who may use the bucket."""
    credentials = [{"accessKey": known["s3_access_key"], "secretKey": known["s3_secret_key"]}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": "neftune", "credentials": credentials, "actions": actions}]})


def hand_out(root: Path, known: Mapping[str, str]) -> None:
    """Give each service what it needs and nothing else."""
    password = known["postgres_password"]
    service = {
        "DATABASE_URL": f"postgresql+psycopg://neftune:{password}@postgres:5432/neftune",
        "REDIS_URL": f"redis://:{known['redis_password']}@redis:6379/0",
        "AWS_ACCESS_KEY_ID": known["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": known["s3_secret_key"],
        "NEFTUNE_SECRET_KEY": known["secret_key"],
    }
    for name, value in service.items():
        write_once(root / "api" / name, value, APP)
        write_once(root / "worker" / name, value, APP)
    write_once(root / "api" / "NEFTUNE_API_KEY", known["api_key"], APP)
    write_once(root / "postgres" / "password", password, POSTGRES)
    write_once(root / "redis" / "password", known["redis_password"], REDIS)
    write_once(root / "redis" / "redis.conf", f"requirepass {known['redis_password']}\n", REDIS)
    write_once(root / "storage" / "s3.json", storage_identities(known), STORAGE)


def give(folder: Path, owner: int) -> None:
    """Let a service write its own secrets into a folder, such as the certificates of the proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, owner, owner)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    give(where / "proxy", APP)
    hand_out(where, vault(where))
