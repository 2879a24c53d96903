"""On which device answers are computed, and whether training has it now.

A GPU belongs to who trains: answers take it only while nobody does. Two workers mean the same GPU when
its UUID is the same, whichever number it has for them.
"""

from collections.abc import Sequence

from sqlalchemy import Engine

from neftune_store.db import unit_of_work
from neftune_store.workers import Gpu, WorkerLedger

CPU = "cpu"


class Place:
    """The devices that may be used, by the setting."""

    def __init__(self, wanted: str, gpus: Sequence[Gpu]) -> None:
        self._devices: dict[str, str | None]  # device -> UUID; the CPU has none
        numbered = {f"cuda:{number}": gpu.uuid for number, gpu in enumerate(gpus)}
        if wanted == CPU or (wanted == "auto" and not gpus):
            self._devices = {CPU: None}
        elif wanted == "auto":
            self._devices = {**numbered}
        else:
            self._devices = {wanted: numbered.get(wanted)}

    def described(self) -> str:
        """Name the devices."""
        return ",".join(self._devices)

    def free(self, engine: Engine, now: str | None = None) -> str | None:
        """Give a device on which nothing trains, the one that is used now before others."""
        order = sorted(self._devices, key=lambda device: device != now)
        return next((device for device in order if not self.trains_on(device, engine)), None)

    def trains_on(self, device: str, engine: Engine) -> bool:
        """Tell whether a job runs there."""
        uuid = self._devices.get(device)
        if uuid is None:
            return False
        with unit_of_work(engine) as session:
            return WorkerLedger(session).trains_on([uuid])
