"""Whom the database runs as. PostgreSQL refuses root, so root lends it ``nobody``.

Beside the user comes a group number that is in no group file and so in no other process: the folder's
mode 0710 then keeps out everybody else who is ``nobody``. No mode outside the home is touched: a
parent folder in the way is named in the error, with the way out.
"""

import grp
import os
import pwd
import secrets
import stat
from pathlib import Path

from standalone.errors import HomeUnusable
from standalone.leash import Account

_PRIVATE_GROUPS = range(62_000, 64_000)  # assigned to nobody by any distribution


def account_for(home: Path, folder: Path) -> Account | None:
    """The account for the server, ``folder`` being its own inside ``home``; None to run as we are."""
    if os.geteuid() != 0:
        return None
    account = Account(_nobody(), _group_of(folder))
    for parent in reversed(home.parents):
        if not _may_pass(parent, account):
            raise HomeUnusable(_closed(home, parent))
    if not _may_pass(home, account):
        home.chmod(stat.S_IMODE(home.stat().st_mode) | stat.S_IXOTH)  # pass through, not look around
    os.chown(folder, 0, account.gid)
    folder.chmod(0o710)
    return account


def give(folder: Path, account: Account | None) -> None:
    """Hand a folder to the account."""
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise HomeUnusable(
            "PostgreSQL can't run as root and there is no user 'nobody' to run it as. "
            "Start as an ordinary user, or set DATABASE_URL."
        ) from None


def _group_of(folder: Path) -> int:
    """The folder's private group from last time, or a free one."""
    gid = folder.stat().st_gid
    if gid in _PRIVATE_GROUPS:
        return gid
    taken = {group.gr_gid for group in grp.getgrall()}
    return secrets.choice([number for number in _PRIVATE_GROUPS if number not in taken])


def _may_pass(folder: Path, account: Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _closed(home: Path, parent: Path) -> str:
    return (
        f"PostgreSQL can't run as root, so it runs as 'nobody', who may not pass through {parent} "
        f"on the way to {home}. Choose a NEFTUNE_HOME that others can pass through "
        "(/var/lib/neftune is the default for root), start as an ordinary user, or set DATABASE_URL."
    )
