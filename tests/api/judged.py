"""Jobs of a series that end with losses of the test's choice."""

from typing import Any

from neftune_core.eval_losses import NAME, EvalLosses, Measurement, encoded
from neftune_store.db import unit_of_work
from neftune_store.settling import settle_succeeded
from tests.api.live_api import Service, claim, store_artifact


def succeed(service: Service, job: dict[str, Any], last: float, best: float | None = None) -> None:
    """Let a job of a series succeed with these held-out losses."""
    best = last if best is None else best
    told = EvalLosses(
        rows=f"of seed {job['seed']}",
        examples=4,
        tokens=[10] * 4,
        last=Measurement(30, [10 * last] * 4),
        best=Measurement(9, [10 * best] * 4),
    )
    final = {
        "eval_loss": last,
        "best_eval_loss": best,
        "best_step": 9,
        "last_clean_train_loss": 1.5,
        "best_clean_train_loss": 1.75,
    }
    claimed = claim(service, {"id": job["job"]})
    row = store_artifact(service, NAME, encoded(told), "application/json")
    with unit_of_work(service.engine) as session:
        settle_succeeded(session, claimed, {"final": final}, [row])
