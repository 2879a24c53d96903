"""The address to listen on: free or not, and how to reach it from here."""

import errno
import socket

from standalone.errors import PortTaken


def check(host: str, port: int) -> None:
    """Refuse an address that can't be listened on, before anything is started."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortTaken(
            f"{host} is no address: {error.strerror}. Set HOST to one of this machine."
        ) from error
    family, kind, protocol, _, address = found[0]
    try:
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        raise PortTaken(_refusal(error, host, port)) from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.bind((host, 0))
        port: int = trial.getsockname()[1]
        return port


def reachable(host: str) -> str:
    """The host to connect to from this machine when listening on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared


def url(host: str, port: int) -> str:
    """The service's URL on this machine."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _refusal(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken: something else listens there. "
            f"Stop it, or choose another port (PORT={port + 1} or --port {port + 1})."
        )
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023 (PORT=8000 or --port 8000)."
    return f"Can't listen on {host}:{port}: {error.strerror}. Set HOST to an address of this machine."
