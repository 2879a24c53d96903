"""Somebody who answers as a test says: the real front and desk, and a script for a model."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from neftune_core.generation_lines import Began, Done, Order, Piece
from neftune_store.db import unit_of_work
from neftune_store.ids import new_id
from neftune_store.workers import Presence, WorkerLedger
from tests.api.live_api import Service
from worker.generation.desk import Desk, Ticket
from worker.generation.front import Front

Script = Callable[[Ticket], None]
TOKEN = f"canary-{secrets.token_urlsafe(16)}"


@dataclass
class Generator:
    """What it was asked, and where it is."""

    address: str
    orders: list[Order] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    id: str = field(default_factory=lambda: new_id("wkr"))


def saying(*pieces: str, finish: str = "stop") -> Script:
    """Answer every question with these pieces."""

    def say(ticket: Ticket) -> None:
        for index, question in enumerate(ticket.order.questions):
            ticket.tell(index, Began(1, question.template, 7))
            for piece in pieces:
                ticket.tell(index, Piece(1, piece))
            ticket.tell(index, Done(1, finish, 7, len(pieces)))  # type: ignore[arg-type]  # one of its words
        ticket.close()

    return say


@contextmanager
def answering(
    service: Service, script: Script, listen: str = "127.0.0.1:0", most: int = 8
) -> Iterator[Generator]:
    """Answer until the block ends."""
    desk = Desk(most)
    front = Front(listen, TOKEN, desk)
    found = Generator(front.address)
    leaving = threading.Event()

    def serve() -> None:
        while not leaving.is_set():
            ticket = desk.next(0.05)
            if ticket is not None:
                found.orders.append(ticket.order)
                script(ticket)
                if ticket.gone.wait(0):
                    found.gone.set()

    front.open()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    here = Presence(found.id, "generate", "test-generator", "cpu", (), front.address, TOKEN)
    with unit_of_work(service.engine) as session:
        WorkerLedger(session).beat(here)
    try:
        yield found
    finally:
        leaving.set()
        with unit_of_work(service.engine) as session:
            WorkerLedger(session).leave(found.id)
        front.close()
        thread.join(5)
