"""The door to Postgres: engine, unit of work, migrations, and which faults mean "try again later".

The session settings are part of correctness, not tuning: a process frozen inside a transaction keeps
its row locks until the server ends the session, so that must happen before a lease runs out.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from neftune_store.errors import DatabaseUnavailable, InvalidMove, StoreError
from neftune_store.settings import IDLE_SECONDS, with_driver

T = TypeVar("T")

SESSION_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "timezone": "UTC",
}
_TCP = {
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,  # milliseconds
}
# Classes and codes of SQLSTATE after which the same request may work: connection lost (08), out of
# resources (53), server going down or coming up (57P), disk and system trouble (58), serialisation and
# deadlock (40), a read-only standby, idle and lock timeouts, a cancelled statement.
_TRANSIENT_CLASSES = ("08", "53", "58", "40")
_TRANSIENT_CODES = {"57P01", "57P02", "57P03", "57P04", "57P05", "57014", "25006", "25P03", "25P04", "55P03"}

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
POOL_WAIT = 5.0  # seconds a request waits for a connection before it is told to come back
PING_WAIT = 2.0  # seconds a connection that lay unused may take to show that it lives
ANSWER_WAIT = 20.0  # seconds for one answer: past statement_timeout, so the server itself must be stuck


def make_engine(
    url: str,
    *,
    pool_size: int = 5,
    application_name: str = "neftune",
    idle_seconds: float = IDLE_SECONDS,
) -> Engine:
    """Make an engine; nothing is opened yet. Call ``dispose()`` after a fork.

    ``idle_seconds``: after so long inside a transaction without a word the server ends the session. Shorter
    than the lease, or a frozen process would hold its job's row when another one should have the job.
    """
    told = {**SESSION_SETTINGS, "idle_in_transaction_session_timeout": f"{round(idle_seconds * 1000)}ms"}
    options = " ".join(f"-c {name}={value}" for name, value in told.items())
    engine = create_engine(
        with_driver(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # rows of users never stand in a traceback
        connect_args={"application_name": application_name, "options": options, **_TCP},
    )
    event.listen(engine, "do_connect", _connect)
    engine.dialect.do_ping = partial(_ping, engine.dialect)  # type: ignore[method-assign]  # of this engine
    return engine


class _Answered(psycopg.Connection[Any]):
    """A connection on which no answer is waited for without end.

    A server that is frozen still has a kernel that acknowledges packets, so no setting of TCP notices; its
    own statement timeout sleeps with it.
    """

    patience: float | None = None  # for what is asked now

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for one answer; when none comes, the connection is of no more use."""
        patience = self.patience or ANSWER_WAIT
        end = time.monotonic() + patience
        try:
            return super().wait(gen, interval, patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if time.monotonic() >= end:
                self.pgconn.finish()
            raise


def _connect(_dialect: object, _record: object, args: list[Any], options: dict[str, Any]) -> Any:
    return _Answered.connect(*args, **options)


def _ping(dialect: Dialect, line: _Answered) -> bool:
    """Ask an unused connection whether it lives, and wait less long than for any other answer."""
    line.patience = PING_WAIT
    try:
        return type(dialect).do_ping(dialect, line)  # type: ignore[arg-type]  # SQLAlchemy's word for any
    finally:
        line.patience = None


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """Open one transaction: all of it is committed at the end of the block, or none."""
    try:
        with Session(engine, expire_on_commit=False, autoflush=False) as session, session.begin():
            yield session
    except (DBAPIError, PoolTimeout) as fault:
        raise translated(fault) from fault


def is_unavailable(fault: BaseException) -> bool:
    """Tell whether a fault means that the database is away or busy, and not that the request is wrong."""
    if isinstance(fault, DatabaseUnavailable | PoolTimeout):
        return True
    if not isinstance(fault, DBAPIError):
        return False
    state = _sqlstate(fault)
    if state is None:
        return fault.connection_invalidated or isinstance(fault, OperationalError | InterfaceError)
    return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_CODES


def translated(fault: DBAPIError | PoolTimeout) -> Exception:
    """Say a driver's fault in the words of the store; what has no word stays as it is."""
    if is_unavailable(fault):
        return DatabaseUnavailable()
    state = _sqlstate(fault)
    if state is not None and state.startswith("JB"):
        return refused_move(fault)
    return fault


def refused_move(fault: BaseException) -> StoreError:
    """Turn a refusal of the trigger on jobs into an error of the tree."""
    original = getattr(fault, "orig", None)
    message = getattr(getattr(original, "diag", None), "message_primary", None)
    return InvalidMove(message or "The job cannot make this move.")


def migrate(url: str, *, to: str = "head") -> None:
    """Bring the schema up (``head``) or down (``base``); several processes may do so at once."""
    from alembic import command  # noqa: PLC0415 - only who migrates pays for the import
    from alembic.config import Config  # noqa: PLC0415 - as above

    if not (MIGRATIONS / "env.py").is_file():
        raise FileNotFoundError(f"no migrations at {MIGRATIONS}; run from a checkout installed with pip -e")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = with_driver(url)
    (command.downgrade if to == "base" else command.upgrade)(config, to)


def _sqlstate(fault: BaseException) -> str | None:
    state = getattr(getattr(fault, "orig", None), "sqlstate", None)
    return state if isinstance(state, str) else None
