"""`up` and `demo`: the service seen from a terminal.

The only place of this package that writes to the terminal. The main thread starts and tends the
processes (they die with the thread that started them); what the demo does runs beside it.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from rich.console import Console

from standalone import address
from standalone.errors import StandaloneError
from standalone.home import Home
from standalone.service import Service
from standalone.settings import StandaloneSettings

DEFAULT_PORT = 8000
_TICK_S = 0.2
_LEAVING_S = 5.0  # for the demo to give the terminal back as it was, cursor and all
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Demo = Callable[[Service, Home], int]


class _Wishes:
    """What the terminal asked for: the first signal stops, a second one while stopping hurries."""

    def __init__(self) -> None:
        self.stopping = False
        self.hurry = False

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.stopping:
            self.hurry = True
            return
        self.stopping = True
        raise KeyboardInterrupt


def up(settings: StandaloneSettings, console: Console) -> int:
    """Start the service and stay until Ctrl-C."""
    with Home(settings.home()) as home:
        port = settings.port or DEFAULT_PORT
        address.check(settings.host, port)
        with suppress(KeyboardInterrupt), _running(home, settings, port, console) as service:
            _welcome(service, home, settings, console)
            _stay(service)
    return 0


def demo(settings: StandaloneSettings, console: Console, show: Demo) -> int:
    """Start the service in a home and on a port of its own, show the main job, stop."""
    with Home(settings.home("neftune-demo")) as home, ExitStack() as afterwards:
        port = settings.port or address.free_port(settings.host)
        address.check(settings.host, port)
        with _running(home, settings, port, console) as service:
            outcome: list[int] = []
            shown = threading.Thread(
                target=lambda: outcome.append(show(service, home)), name="demo", daemon=True
            )
            afterwards.callback(shown.join, _LEAVING_S)
            shown.start()
            _stay(service, shown.is_alive)
    return outcome[0] if outcome else 1  # without an outcome the thread has told its traceback


@contextmanager
def _running(home: Home, settings: StandaloneSettings, port: int, console: Console) -> Iterator[Service]:
    def say(who: str, what: str) -> None:
        _tell(console, f"  {who:<11} {what}")

    wishes = _Wishes()
    # A hang-up that somebody chose to ignore (nohup) stays ignored.
    heard = [
        number
        for number in _STOPPING
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP
    ]
    before = {number: signal.signal(number, wishes.hear) for number in heard}
    service = Service(home, settings, port, say)
    say("home", str(home.path))
    kept = f"Everything is kept in {home.path}."
    try:
        service.start()
        yield service
    except StandaloneError:
        kept = ""
        raise
    except KeyboardInterrupt:
        _tell(console, "\nStopping; a running job goes back to the queue. Ctrl-C again hurries.")
        raise
    finally:
        wishes.stopping = True  # from here on a signal only hurries
        service.stop(lambda: wishes.hurry)
        for number, handler in before.items():
            signal.signal(number, handler)
        _tell(console, f"Stopped. {kept}".rstrip())


def _stay(service: Service, wanted: Callable[[], bool] = lambda: True) -> None:
    while wanted():
        service.tend()
        time.sleep(_TICK_S)


def _welcome(service: Service, home: Home, settings: StandaloneSettings, console: Console) -> None:
    key_file = home.path / "secrets" / "api-key"
    lines = [
        "",
        # Behind the #, so that no server sees it; the page takes it out of the address at once.
        f"  {service.url}/app/#key={service.api_key}",
        "  The link opens the dashboard and signs you in: keep it to yourself.",
        "",
        "  Next, in another terminal: `neftune` finds it by itself (docs/cli.md); for everything else",
        f"    export NEFTUNE_URL={service.url} NEFTUNE_API_KEY={service.api_key}",
        '    curl -H "Authorization: Bearer $NEFTUNE_API_KEY" $NEFTUNE_URL/models',
        "",
        f"  The key is kept in {key_file}, the logs in {home.path / 'logs'}.",
        "  Ctrl-C stops everything; the next start finds it all again.",
    ]
    if address.reachable(settings.host) != settings.host:
        lines.append("  It listens on all addresses of this machine: put TLS in front of it.")
    for line in lines:
        _tell(console, line)


def _tell(console: Console, line: str) -> None:
    """Write a line; a terminal that is gone is no reason to stop, nor to stop half way through stopping."""
    with suppress(OSError, SystemExit):  # rich ends the process on a broken pipe
        console.print(line, markup=False, highlight=False, soft_wrap=True)
