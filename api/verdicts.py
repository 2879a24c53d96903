"""Verdicts on series: what each run has left of its held-out losses, read from storage and judged.

Read once for as long as a series' results are the same: they are artifacts, which never change. Of a file
that isn't what it should be nothing is known.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog
from sqlalchemy.orm import Session

from api.database import Database
from neftune_core.eval_losses import MAX_BYTES, NAME, EvalLosses, NotEvalLosses, decoded
from neftune_store.artifacts import Artifact
from neftune_store.blobs import Blobs
from neftune_store.errors import BlobNotFound
from neftune_store.lifecycle import TERMINAL, Status
from neftune_store.sweep import Child, Sweep
from neftune_store.sweeps import artifacts_named

if TYPE_CHECKING:  # numpy comes with it
    from neftune_core.verdict import Verdict

_KEPT = 256  # verdicts: a page of series has them all

log = structlog.get_logger()
_Key = tuple[str, tuple[tuple[str, str, str | None], ...]]


class Verdicts:
    """Judges series, and remembers the latest verdicts."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs
        self._known: OrderedDict[_Key, Verdict] = OrderedDict()
        self._one = anyio.Semaphore(1)  # arithmetic, of which one at a time is enough

    async def of(self, sweep: Sweep, children: Sequence[Child]) -> "Verdict":
        """Judge a series by the latest jobs of its points; one that was deleted counts as asked for."""
        ids = [child.job.id for child in children]

        def asked(tx: Session) -> dict[str, Artifact]:
            return artifacts_named(tx, NAME, ids)

        found = await self._database.ask(asked)
        key = (
            sweep.id,
            tuple(
                (one.job.id, one.job.status, found[one.job.id].sha256 if one.job.id in found else None)
                for one in children
            ),
        )
        async with self._one:
            if key not in self._known:
                self._known[key] = await anyio.to_thread.run_sync(self._judged, sweep, children, found)
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[key]

    def _judged(self, sweep: Sweep, children: Sequence[Child], found: dict[str, Artifact]) -> "Verdict":
        from neftune_core.verdict import Result, judge  # noqa: PLC0415 - as above

        left = {(child.alpha, child.seed) for child in children}
        deleted = [Result(*point, ended=True, succeeded=False) for point in sweep.points if point not in left]
        return judge(
            deleted
            + [
                Result(
                    child.alpha,
                    child.seed,
                    child.job.status in TERMINAL,
                    self._read(found[child.job.id]) if child.job.id in found else None,
                    child.job.status == Status.SUCCEEDED,
                )
                for child in children
            ]
        )

    def _read(self, artifact: Artifact) -> EvalLosses | None:
        if artifact.bytes > MAX_BYTES:
            return None
        try:
            return decoded(b"".join(self._blobs.stream(artifact.blob_key)))
        except (BlobNotFound, NotEvalLosses) as fault:
            log.warning("verdict.losses_unread", job_id=artifact.job_id, reason=type(fault).__name__)
            return None
