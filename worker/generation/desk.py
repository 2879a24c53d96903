"""The desk where orders wait, in the order in which they came, and not more than so many.

Half of the places are the most that one key's orders take, so that it never fills the desk for all others.
Hands orders from the threads that hear clients to the main thread that has them answered, and the
answers back. Knows no HTTP and no models.
"""

import threading
from collections import deque
from queue import SimpleQueue

from neftune_core.generation_lines import Order, Reply, Said


class DeskFull(Exception):
    """As many orders wait as may, of all or of who asks."""


class Ticket:
    """One order: what is said to it, and whether anybody still listens."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.gone = threading.Event()
        self.said: SimpleQueue[Said | None] = SimpleQueue()  # None: that was all

    def tell(self, index: int, reply: Reply) -> None:
        """Say something to one of its questions."""
        self.said.put(Said(index, reply))

    def close(self) -> None:
        """Say that this was all."""
        self.said.put(None)


class Desk:
    """The orders that wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._waiting: deque[Ticket] = deque()
        self._serving: Ticket | None = None
        self._changed = threading.Condition()

    def hand_in(self, order: Order) -> Ticket:
        """Let an order wait; raise :class:`DeskFull` when too many do, or too many of who asks."""
        ticket = Ticket(order)
        with self._changed:
            self._waiting = deque(one for one in self._waiting if not one.gone.is_set())
            next_up = self._serving is None  # who is first waits for nobody
            mine = sum(one.order.asker == order.asker for one in self._waiting)
            if len(self._waiting) >= self._most + next_up or mine >= self._most_of_one + next_up:
                raise DeskFull
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def next(self, patience: float) -> Ticket | None:
        """Give the order that waits longest, after so many seconds at most; the one before is done with."""
        with self._changed:
            self._serving = None
            self._changed.wait_for(lambda: bool(self._waiting), patience)
            while self._waiting:
                ticket = self._waiting.popleft()
                if not ticket.gone.is_set():
                    self._serving = ticket
                    return ticket
        return None
