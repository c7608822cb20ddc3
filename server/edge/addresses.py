"""Where a client is: the other end of its connection, or what trusted proxies say of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Some proxies name the port as well.
WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>\d+\.\d+\.\d+\.\d+):\d+")

# Whoever has one IPv6 address has all of its network.
IPV6_PREFIX = 64


class Addresses:
    """``trusted`` are the addresses and networks of proxies whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(each) for each in trusted]

    def client(self, peer: str | None, forwarded: Iterable[str]) -> Ip | None:
        """``peer`` is the other end of the TCP connection, ``forwarded`` the X-Forwarded-For
        headers in their order. None where the peer has no address.

        Each proxy adds whom it was asked by at the end, and anybody can send a header that says
        anything. So what counts is read from the end, for as long as a trusted proxy has written
        it.
        """
        client = _parsed(peer or "")
        said = ",".join(forwarded).split(",")
        while client is not None and self._is_trusted(client) and said:
            before = _parsed(said.pop())
            if before is None:
                break
            client = before
        return client

    def _is_trusted(self, address: Ip) -> bool:
        return any(address in network for network in self._trusted)


def counted_as(address: Ip) -> str:
    """What its connections are counted by."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((int(address), IPV6_PREFIX), strict=False))


def _parsed(text: str) -> Ip | None:
    text = text.strip()
    if match := WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"] or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # How a socket that listens for both tells of IPv4.
    return getattr(address, "ipv4_mapped", None) or address
