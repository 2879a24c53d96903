"""Telling webhooks: threads of the reconciler's process take what is due, send it, and note how it went.

No transaction is open while something is sent, and no job waits for it. Who dies between sending and
noting leaves a delivery that comes due again: it is heard at least once, each time under the same id.
Neither a URL nor a secret is ever logged; both may open doors.
"""

import http.client
import json
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy import Engine
from standardwebhooks import Webhook

from neftune_core.address import Refused
from neftune_core.failpoint import failpoint
from neftune_core.posting import Limits, post
from neftune_store.db import make_engine, unit_of_work
from neftune_store.sealing import Sealer
from neftune_store.settings import StoreSettings
from neftune_store.webhooks import Errand, heard, not_heard, take

SENDERS = 4
TIME_LIMIT = 10.0  # seconds for all of it, however slowly bytes come
IDLE = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: an HTTP status, or a word for why there is none."""

    status: int | None = None
    error: str | None = None


def deliver_again_and_again(settings: StoreSettings, leaving: threading.Event) -> None:
    """Start the senders; they end when told to leave, or with the process."""
    engine = make_engine(settings.database_url, pool_size=2, application_name="neftune-webhooks")
    for number in range(SENDERS):
        threading.Thread(
            target=_loop, args=(engine, settings, leaving), name=f"webhooks-{number}", daemon=True
        ).start()


def _loop(engine: Engine, settings: StoreSettings, leaving: threading.Event) -> None:
    while not leaving.is_set():
        try:
            busy = deliver_next(engine, settings)
        except Exception as fault:  # any reason: a loop that ends would tell nobody anything
            log.warning("webhook.failed", reason=type(fault).__name__)
            busy = False
        if not busy:
            leaving.wait(IDLE)


def deliver_next(engine: Engine, settings: StoreSettings) -> bool:
    """Carry out what is due, if anything; tell whether there was something."""
    with unit_of_work(engine) as session:
        errand = take(session, Sealer.of(settings.secret_keys()))
    if errand is None:
        return False
    outcome = send(errand, settings.webhook_allow)
    failpoint("delivery.sent")
    with unit_of_work(engine) as session:
        if outcome.status is not None and outcome.error is None:
            heard(session, errand, outcome.status)
        else:
            not_heard(session, errand, outcome.error or "unknown", outcome.status)
    log.info(
        "webhook.sent", delivery=errand.delivery_id, attempt=errand.attempt,
        status=outcome.status, error=outcome.error,
    )  # fmt: skip
    return True


def send(errand: Errand, allowed: tuple[str, ...]) -> Outcome:
    """Send it once. What the receiver says beyond its status is not read, and nowhere else is gone to."""
    try:
        status = _post(errand, allowed)
    except Refused:
        return Outcome(error="address_refused")
    except TimeoutError:
        return Outcome(error="timeout")
    except socket.gaierror:
        return Outcome(error="unknown_host")
    except ssl.SSLError:
        return Outcome(error="tls")
    except (OSError, http.client.HTTPException, ValueError):
        return Outcome(error="connection")
    return Outcome(status) if 200 <= status < 300 else Outcome(status, "status")


def _post(errand: Errand, allowed: tuple[str, ...]) -> int:
    data = json.dumps(errand.body, separators=(",", ":"))
    limits = Limits(allowed, TIME_LIMIT)
    return post(errand.url, data.encode(), signed(errand, data), limits).status


def signed(errand: Errand, data: str) -> dict[str, str]:
    """Give the headers by which a receiver knows us; the time is that of this attempt."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "neftune-webhooks",
        "webhook-id": errand.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(errand.secret).sign(errand.event_id, now, data),
    }
