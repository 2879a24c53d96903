"""Which addresses strangers may name: the name is resolved once, and that very address is connected to.

For webhooks and judges. A name that resolves to something inside our own network, now or at a second
question, would turn the sender into a way in. So every address that a name has must be a public one, unless
the operator allows its host.
"""

import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# In the last 32 bits of these stands the IPv4 address that a gateway or an old kernel makes of them.
_HOLD_IPV4 = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
# Somebody's own network, which not every Python knows: of sites, and of gateways.
_OWN = tuple(map(IPv6Network, ("fec0::/10", "64:ff9b:1::/48")))


class Refused(Exception):
    """The address is not one that strangers may name."""


def resolved(host: str, port: int, allowed: Sequence[str]) -> str:
    """Give the address to connect to. Raises :class:`Refused`, or ``OSError`` where the name is unknown."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not allows(allowed, host):
        for address in addresses:
            if not is_public(address):
                raise Refused
    return addresses[0]


def allows(patterns: Sequence[str], host: str) -> bool:
    """Tell whether the operator lets this host be inside our network."""
    return any(fnmatchcase(host, pattern) for pattern in patterns)


def is_public(address: str) -> bool:
    """Tell whether anybody on the internet could mean this address."""
    ip = ip_address(address.split("%", 1)[0])
    if any(ip in network for network in _OWN):
        return False
    inner = _inside(ip)
    return all(one.is_global and not one.is_multicast for one in (ip, inner) if one is not None)


def _inside(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Give the IPv4 address that a gateway would make of this one."""
    if isinstance(ip, IPv4Address):
        return None
    if any(ip in network for network in _HOLD_IPV4):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
