"""What a run writes and reads in the database while it lasts, one short transaction at a time.

Every write stands under the claim's fence; ``LeaseLost`` from here means: stop, it is not ours any more.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from sqlalchemy import Engine

from neftune_core.failpoint import failpoint
from neftune_core.messages import Event, Metric
from neftune_store import runs
from neftune_store.artifacts import Artifact
from neftune_store.checkpoints import Checkpoint, CheckpointFile
from neftune_store.claims import Claim
from neftune_store.db import unit_of_work
from neftune_store.evaluations import judged_before
from neftune_store.exports import Subject, subject_of
from neftune_store.live_logs import add_part
from neftune_store.metrics import metrics_after
from neftune_store.sealing import Sealer
from neftune_store.secrets import SecretLedger
from worker.metrics_csv import Row
from worker.reporter import Batch

PAGE = 500


class RunWriter:
    """Writes for one run."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self._engine = engine
        self._claim = claim

    def write(self, batch: Batch) -> None:
        """Write what the runner said."""
        with unit_of_work(self._engine) as session:
            if batch.progress is not None and not any(isinstance(one, Metric) for one in batch.said):
                runs.set_progress(session, self._claim, batch.progress)
            for _, group in groupby(batch.said, type):  # so that a follower hears all in the runner's order
                said = list(group)
                rows = [(one.step, one.values) for one in said if isinstance(one, Metric)]
                if rows:
                    runs.write_metrics(session, self._claim, rows, progress=batch.progress)
                    failpoint("report.inside")
                for fact in said:
                    if isinstance(fact, Event):
                        runs.add_event(session, self._claim, fact.name, fact.data)
            if batch.resolved is not None:
                runs.set_resolved(session, self._claim, batch.resolved)

    def event(self, name: str, data: dict[str, object]) -> None:
        """Write one fact of the supervisor's own."""
        with unit_of_work(self._engine) as session:
            runs.add_event(session, self._claim, name, data)

    def log_part(self, number: int, said: str) -> None:
        """Write some of what the runner has printed, for whoever follows."""
        with unit_of_work(self._engine) as session:
            add_part(session, self._claim, number, said)

    def checkpoint(self, step: int, files: Sequence[CheckpointFile]) -> None:
        """Make a stored checkpoint the place to go on from."""
        keep = self._claim.spec.get("training", {}).get("keep_checkpoints", 2)
        with unit_of_work(self._engine) as session:
            runs.commit_checkpoint(session, self._claim, step, files, keep)

    def pass_over(self, checkpoint: Checkpoint) -> None:
        """Go on from the place before this one."""
        with unit_of_work(self._engine) as session:
            runs.pass_over_checkpoint(session, self._claim, checkpoint)

    def subject(self, kind: str) -> Subject:
        """Give what the job that this one is about has left."""
        with unit_of_work(self._engine) as session:
            return subject_of(session, self._claim, kind)

    def secret(self, sealer: Sealer, name: str) -> str:
        """Open a secret of the job's project."""
        with unit_of_work(self._engine) as session:
            return SecretLedger(session, sealer).open(self._claim.project_id, name)

    def judged_before(self) -> list[Artifact]:
        """Give what judges have said in the project's last evaluations."""
        with unit_of_work(self._engine) as session:
            return judged_before(session, self._claim)

    def metric_rows(self) -> Iterator[Row]:
        """Give the job's metrics in the order of their steps, page by page."""
        seq = 0
        while True:
            with unit_of_work(self._engine) as session:
                page = metrics_after(session, self._claim.project_id, self._claim.job_id, seq, PAGE)
            yield from ((metric.step, metric.values) for metric in page)
            if len(page) < PAGE:
                return
            seq = page[-1].seq
