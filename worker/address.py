"""Which addresses a webhook may have: the name is resolved once, and that very address is connected to.

A name that resolves to something inside our own network, now or at a second question, would turn the sender
into a way in. So every address that a name has must be a public one, unless the operator allows its host.
"""

import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """The address is not one that a webhook may have."""


def resolved(host: str, port: int, allowed: Sequence[str]) -> str:
    """Give the address to connect to. Raises :class:`Refused`, or ``OSError`` where the name is unknown."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not any(fnmatchcase(host, pattern) for pattern in allowed):
        for address in addresses:
            if not is_public(address):
                raise Refused
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether anybody on the internet could mean this address."""
    ip = ip_address(address.split("%", 1)[0])
    inner = _inside(ip)
    return ip.is_global and not ip.is_multicast and (inner is None or inner.is_global)


def _inside(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Give the IPv4 address that a gateway would make of this one."""
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
