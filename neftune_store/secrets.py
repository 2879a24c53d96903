"""The ledger of secrets: values that specs name and nobody reads back.

Who uses one is a worker, at the moment it needs it; questions give names and times only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from neftune_store.errors import SecretNotFound, SecretUnknown, TooManySecrets
from neftune_store.models import ProjectRow, SecretRow
from neftune_store.sealing import Sealer

MOST = 100  # secrets of a project


@dataclass(frozen=True, slots=True)
class Secret:
    """That there is one; never what it is."""

    name: str
    created_at: datetime
    updated_at: datetime


class SecretLedger:
    """Every question and every change about secrets."""

    def __init__(self, session: Session, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer

    def put(self, project_id: str, name: str, value: str) -> tuple[Secret, bool]:
        """Keep a value under this name, in the place of an earlier one. Tells whether the name is new."""
        sealed = self._sealer.seal(value, project_id, name)
        self._check_room(project_id, name)
        new = insert(SecretRow).values(project_id=project_id, name=name, sealed=sealed)
        made = new.on_conflict_do_update(
            index_elements=["project_id", "name"],
            set_={"sealed": sealed, "updated_at": func.clock_timestamp()},
        ).returning(
            SecretRow.created_at, SecretRow.updated_at, literal_column("(xmax = 0)", Boolean).label("is_new")
        )
        row = self._session.execute(made).one()
        return Secret(name, row.created_at, row.updated_at), bool(row.is_new)

    def list(self, project_id: str) -> Sequence[Secret]:
        """List the names, with when each was made and last replaced."""
        found = select(SecretRow.name, SecretRow.created_at, SecretRow.updated_at)
        rows = self._session.execute(found.where(SecretRow.project_id == project_id).order_by(SecretRow.name))
        return [Secret(*row) for row in rows]

    def delete(self, project_id: str, name: str) -> None:
        """Forget it. Jobs that name it and have not fetched what they need will fail."""
        gone = delete(SecretRow).where(SecretRow.project_id == project_id, SecretRow.name == name)
        if not self._session.scalars(gone.returning(SecretRow.name)).all():
            raise SecretNotFound

    def open(self, project_id: str, name: str) -> str:
        """Give the value to who needs it now."""
        found = select(SecretRow.sealed).where(SecretRow.project_id == project_id, SecretRow.name == name)
        sealed = self._session.scalar(found)
        if sealed is None:
            raise SecretUnknown
        return self._sealer.open(sealed, project_id, name)

    def _check_room(self, project_id: str, name: str) -> None:
        """Refuse one too many; the lock on the project makes the count exact."""
        self._session.execute(
            select(ProjectRow.id).where(ProjectRow.id == project_id).with_for_update(key_share=True)
        )
        others = select(func.count()).where(SecretRow.project_id == project_id, SecretRow.name != name)
        if (self._session.scalar(others) or 0) >= MOST:
            raise TooManySecrets(MOST)


def check_known(
    session: Session, project_id: str, name: str, place: Sequence[str] = ("hub_token", "secret")
) -> None:
    """Raise :class:`SecretUnknown` unless the project has a secret of this name, which stands there."""
    found = select(SecretRow.name).where(SecretRow.project_id == project_id, SecretRow.name == name)
    if session.scalar(found) is None:
        raise SecretUnknown(place)


def seal_anew(session: Session, sealer: Sealer) -> int:
    """Seal with the first key whatever another one has sealed; tell how many."""
    count = 0
    for row in session.scalars(select(SecretRow).with_for_update()):
        if sealer.is_current(row.sealed):
            continue
        place = (row.project_id, row.name)
        sealed = sealer.seal(sealer.open(row.sealed, *place), *place)
        session.execute(
            update(SecretRow)
            .where(SecretRow.project_id == row.project_id, SecretRow.name == row.name)
            .values(sealed=sealed),
            execution_options={"synchronize_session": False},
        )
        count += 1
    return count
