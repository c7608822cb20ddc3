"""How many connections a user and an address may have, counted by who is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.edge.addresses import Addresses
from server.edge.admission import Admission
from server.edge.connections import Connection, Connections
from server.errors import Busy, RateLimited


def admission(*, per_user: int = 0, per_address: int = 0) -> tuple[Connections, Admission]:
    connections = Connections(lambda event, payload, sids: None)
    limits = Admission(connections, Addresses(), per_user=per_user, per_address=per_address)
    return connections, limits


def has_room(limits: Admission, user: str, address: str | None) -> bool:
    try:
        limits.require_room(user, address)
    except RateLimited as error:
        return not error.retry_after
    return True


def a_connection(sid: str, user: str, address: str | None) -> Connection:
    return Connection(sid, user, guest=True, address=address)


def test_a_user_and_an_address_have_so_many_at_a_time() -> None:
    connections, limits = admission(per_user=2, per_address=3)
    for sid, user in (("1", "ada"), ("2", "ada"), ("3", "bob")):
        assert has_room(limits, user, "here")
        connections.add(a_connection(sid, user, "here"))
    with pytest.raises(RateLimited, match="You have"):
        limits.require_room("ada", "there")
    with pytest.raises(RateLimited, match="your address"):
        limits.require_room("cy", "here")
    assert has_room(limits, "cy", "there")
    assert has_room(limits, "cy", None)
    connections.remove("1")
    connections.remove("1")
    assert has_room(limits, "ada", "here")


def test_a_limit_of_0_is_none() -> None:
    connections, limits = admission()
    for number in range(1_000):
        connections.add(a_connection(str(number), "ada", "here"))
    assert has_room(limits, "ada", "here")


def test_where_there_is_no_address_nobody_is_counted_by_it() -> None:
    connections, limits = admission(per_address=1)
    connections.add(a_connection("1", "ada", None))
    assert has_room(limits, "bob", None)


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 20),
            st.sampled_from(("ada", "bob", "cy")),
            st.sampled_from(("here", "there", None)),
        )
    )
)
def test_the_counts_are_those_of_who_is_there(
    steps: list[tuple[bool, int, str, str | None]],
) -> None:
    connections, _ = admission()
    there: dict[str, tuple[str, Any]] = {}
    for comes, number, user, address in steps:
        sid = str(number)
        if comes and sid not in there:
            connections.add(a_connection(sid, user, address))
            there[sid] = (user, address)
        elif not comes:
            connections.remove(sid)
            there.pop(sid, None)
        for name in ("ada", "bob", "cy"):
            assert connections.of_user(name) == sum(each[0] == name for each in there.values())
        for place in ("here", "there"):
            count = sum(each[1] == place for each in there.values())
            assert connections.from_address(place) == count
    for sid in list(there):
        connections.remove(sid)
    # Nothing is kept of who has left, nor of who was only asked for.
    assert not connections._from_address
    assert not connections._by_user


def test_a_connection_follows_so_many_with_those_it_is_about_to() -> None:
    connection = Connection("1", "ada", guest=True, max_following=2)
    connection.following.add("a")
    with connection.joining("b"), connection.joining("a"):
        with pytest.raises(Busy, match="close some"), connection.joining("c"):
            pass
        connection.following.add("b")
    with pytest.raises(Busy), connection.joining("c"):
        pass
    connection.following.discard("a")
    with connection.joining("c"):
        pass
    with connection.joining("a"):
        pass
