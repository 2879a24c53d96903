"""A client of the service: ``Client`` for scripts, ``neftune`` for terminals.

Talks HTTP and knows no other package.

from neftune_client import Client
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neftune_client.client import Client
    from neftune_client.errors import ClientError, Refused, Unreachable
    from neftune_client.stream import Message

__all__ = ["Client", "ClientError", "Message", "Refused", "Unreachable"]

_HOMES = {"Client": "client", "Message": "stream"}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is: `neftune --help` needs no HTTP."""
    if name not in __all__:
        raise AttributeError(name)
    import importlib  # noqa: PLC0415 - as above

    return getattr(importlib.import_module(f"neftune_client.{_HOMES.get(name, 'errors')}"), name)
