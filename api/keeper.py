"""What is done about keys beside the requests: their last use is written down, and what they hold open ends.

No request waits for it. The database may be away: uses are then written later, and streams go on as they can.
"""

import asyncio
from collections.abc import Sequence

import structlog

from api.database import Database
from api.listener import Wakeups
from api.stream import StreamSlots
from neftune_store.errors import StoreError
from neftune_store.keys import KeyLedger

log = structlog.get_logger()

LOOK_S = 2.0


class Keeper:
    """Looks every two seconds, and asks the database only if there is something to ask."""

    def __init__(self, database: Database, slots: Sequence[StreamSlots], wakeups: Wakeups) -> None:
        self._database = database
        self._slots = slots  # of all that lasts
        self._wakeups = wakeups
        self._used: set[str] = set()

    def note(self, key_id: str) -> None:
        """Have this key's last use written down; returns at once."""
        self._used.add(key_id)

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except StoreError as error:
                log.info("keys.not_looked_at", code=error.code)
            except Exception:
                log.exception("keys.not_looked_at")

    async def look(self) -> None:
        """Look once."""
        if used := self._used:
            self._used = set()
            try:
                await self._database.ask(lambda tx: KeyLedger(tx).note_use(used))
            except BaseException:
                self._used |= used
                raise
        if open_for := set[str]().union(*(slots.keys() for slots in self._slots)):
            good: set[str] = await self._database.ask(lambda tx: KeyLedger(tx).still_good(open_for))
            if dead := open_for - good:
                for slots in self._slots:
                    slots.close(dead)
                self._wakeups.wake_all()
