"""``python -m worker.generate``: answers what users ask base and tuned models, beside the workers.

Holds no model itself: that is its child's part, started at the first question and ended when nobody asks.
Its row in ``workers`` tells the api where it is and by which token it may be asked.
"""

import secrets
import signal
import threading
from pathlib import Path
from types import FrameType

import structlog

from neftune_store.blobs import Blobs
from neftune_store.db import make_engine
from neftune_store.sealing import Sealer
from neftune_store.startup import configure_logs, settings_at_start
from neftune_store.workers import BEAT_SECONDS
from worker import gpus, presence
from worker.generation.cupboard import Cupboard
from worker.generation.desk import Desk
from worker.generation.front import Front
from worker.generation.keeper import Keeper, Means
from worker.generation.place import Place
from worker.settings import GenerateSettings
from worker.strays import adopt_orphans
from worker.workdir import private_folder, sweep

log = structlog.get_logger()


def main() -> None:
    """Answer until SIGTERM or Ctrl-C."""
    told = "Answer what users ask base and tuned models."
    settings = settings_at_start(GenerateSettings, "worker.generate", told)
    configure_logs()
    leaving = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if settings.generate_device == "off":
        log.info("generate.off")
        leaving.wait()
        return
    adopt_orphans()
    sweep(settings.work_dir)
    with private_folder(settings.work_dir, f"generate-{secrets.token_hex(8)}") as home:
        _answer(settings, home, leaving)


def _answer(settings: GenerateSettings, home: Path, leaving: threading.Event) -> None:
    """Open the door, tell where it is, and answer who comes."""
    engine = make_engine(
        settings.database_url,
        pool_size=2,
        application_name="neftune-generate",
        idle_seconds=settings.idle_seconds(),
    )
    desk, token = Desk(settings.generate_queue), secrets.token_urlsafe(32)
    front = Front(settings.generate_listen, token, desk)
    place = Place(settings.generate_device, gpus.visible())
    cupboard = Cupboard(settings.work_dir / "tuned", Blobs.open(settings), settings.generate_cache_bytes)
    means = Means(settings, home, engine, cupboard, place, leaving.is_set)
    here = presence.Here(
        "generate",
        settings.worker_name,
        place.described(),
        settings.generate_address or front.address,
        token,
        Sealer.of(settings.secret_keys()),
    )

    def beat_again_and_again() -> None:
        while not leaving.is_set():
            here.beat(engine)
            leaving.wait(BEAT_SECONDS)

    front.open()
    threading.Thread(target=beat_again_and_again, name="beats", daemon=True).start()
    log.info("generate.ready", device=place.described())
    try:
        Keeper(means, desk).run()
    finally:
        leaving.set()
        here.leave(engine)
        front.close()
        engine.dispose()


if __name__ == "__main__":
    main()
