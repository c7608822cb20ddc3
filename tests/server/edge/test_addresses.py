"""Where a client is: nobody but a trusted proxy can say that it is somebody else."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.edge.addresses import Addresses, counted_as

PROXIES = ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")


def seen(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> str | None:
    client = Addresses(trusted).client(peer, forwarded)
    return None if client is None else str(client)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody in between, or nobody to be believed.
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
        ("11.0.0.1", ("198.51.100.1",), "11.0.0.1"),
        # One proxy, several, in one header and in several.
        ("127.0.0.1", ("203.0.113.7",), "203.0.113.7"),
        ("127.0.0.1", ("203.0.113.7, 10.1.2.3",), "203.0.113.7"),
        ("127.0.0.1", ("203.0.113.7", "10.1.2.3"), "203.0.113.7"),
        ("127.0.0.1", (" 203.0.113.7 ,\t10.1.2.3 ",), "203.0.113.7"),
        # What the client has made up stands before its own address.
        ("127.0.0.1", ("6.6.6.6, 203.0.113.7",), "203.0.113.7"),
        ("127.0.0.1", ("6.6.6.6", "203.0.113.7, 10.9.9.9"), "203.0.113.7"),
        ("127.0.0.1", ("127.0.0.1, 203.0.113.7",), "203.0.113.7"),
        # A client in the proxies' own network.
        ("127.0.0.1", ("10.0.0.5",), "10.0.0.5"),
        ("127.0.0.1", ("10.0.0.4, 10.0.0.5",), "10.0.0.4"),
        ("127.0.0.1", (), "127.0.0.1"),
        # What is no address ends the walk.
        ("127.0.0.1", ("203.0.113.7, unknown",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.7, unknown, 10.1.1.1",), "10.1.1.1"),
        ("127.0.0.1", ("",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.7,",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.7, 10.0.0.999",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.7, \u0661.1.1.1",), "127.0.0.1"),
        # With a port.
        ("127.0.0.1", ("203.0.113.7:4711",), "203.0.113.7"),
        ("127.0.0.1", ("[2001:db8::1]:4711",), "2001:db8::1"),
        ("127.0.0.1", ("[2001:db8::1]",), "2001:db8::1"),
        # IPv6, and IPv4 in it.
        ("fd00::1", ("2001:db8::1",), "2001:db8::1"),
        ("::1", ("2001:db8::1",), "::1"),
        ("::ffff:127.0.0.1", ("203.0.113.7",), "203.0.113.7"),
        ("::ffff:203.0.113.7", ("6.6.6.6",), "203.0.113.7"),
        ("127.0.0.1", ("::ffff:203.0.113.7",), "203.0.113.7"),
        ("127.0.0.1", ("203.0.113.7, ::ffff:10.0.0.1",), "203.0.113.7"),
        # A local socket has none.
        (None, ("203.0.113.7",), None),
        ("", ("203.0.113.7",), None),
        ("/run/mnemosio.sock", ("203.0.113.7",), None),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_stands_for(
    peer: str | None, forwarded: tuple[str, ...], client: str | None
) -> None:
    assert seen(peer, *forwarded) == client


def test_without_trusted_proxies_nothing_that_is_said_counts() -> None:
    assert seen("127.0.0.1", "203.0.113.7", trusted=()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::1", "::2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_network_is_counted_as_one_client(one: str, other: str, together: bool) -> None:
    first, second = (counted_as(ipaddress.ip_address(each)) for each in (one, other))
    assert (first == second) is together


addresses = st.ip_addresses().map(str)


@given(peer=addresses, forwarded=st.lists(st.text() | addresses, max_size=5))
def test_a_client_that_comes_by_no_proxy_can_say_nothing(peer: str, forwarded: list[str]) -> None:
    trusted = Addresses(("192.0.2.1",))
    assert trusted.client(peer, forwarded) == trusted.client(peer, ()) or peer == "192.0.2.1"


@given(client=addresses, said=st.lists(st.text() | addresses, max_size=5), hops=st.integers(0, 3))
def test_what_a_client_says_before_its_proxies_changes_nothing(
    client: str, said: list[str], hops: int
) -> None:
    proxies = ("192.0.2.0/24",)
    peer, chain = "192.0.2.9", [client, *(f"192.0.2.{hop}" for hop in range(hops))]
    honest = seen(peer, ", ".join(chain), trusted=proxies)
    lying = seen(peer, *said, ", ".join(chain), trusted=proxies)
    if not client.startswith("192.0.2."):
        assert lying == honest
        assert counted_as(ipaddress.ip_address(honest or "")) == counted_as(
            ipaddress.ip_address(seen(client, trusted=()) or "")
        )
