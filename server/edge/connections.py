"""Who is connected: each connection's user, its feeds, and the order of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from memory.locks import KeyedLocks


class Connection:
    """One client's connection, from its CONNECT to its end."""

    def __init__(self, sid: str, user_id: str, *, guest: bool) -> None:
        self.sid = sid
        self.user_id = user_id
        self.guest = guest
        self.order = KeyedLocks()  # its calls about one conversation take effect in their order
        self.following: set[str] = set()  # the conversations whose feeds it is on
        self.expiry: asyncio.TimerHandle | None = None
        self.closed = False


class Deliver(Protocol):
    """Queues an event for these connections."""

    def __call__(self, event: str, payload: dict[str, Any], sids: list[str]) -> None: ...


class Connections:
    """The connections of this process, by id and by user."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self.tell_elsewhere: Callable[[str, str, dict[str, Any]], None] = _nobody
        """Tells the same to this user's connections on other servers."""
        self._by_sid: dict[str, Connection] = {}
        self._by_user: dict[str, dict[str, Connection]] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_sid.values()))

    def __len__(self) -> int:
        return len(self._by_sid)

    def add(self, connection: Connection) -> None:
        self._by_sid[connection.sid] = connection
        self._by_user.setdefault(connection.user_id, {})[connection.sid] = connection

    def get(self, sid: str) -> Connection | None:
        return self._by_sid.get(sid)

    def remove(self, sid: str) -> Connection | None:
        connection = self._by_sid.pop(sid, None)
        if connection is None:
            return None
        connection.closed = True
        if connection.expiry is not None:
            connection.expiry.cancel()
        tabs = self._by_user[connection.user_id]
        del tabs[sid]
        if not tabs:
            del self._by_user[connection.user_id]
        return connection

    def tell(self, connection: Connection, event: str, payload: dict[str, Any]) -> None:
        self._deliver(event, payload, [connection.sid])

    def tell_user(self, user_id: str, event: str, payload: dict[str, Any]) -> None:
        """To every connection of this user, so that a list stays live in every tab."""
        self._deliver(event, payload, list(self._by_user.get(user_id, ())))

    def tell_everywhere(self, user_id: str, event: str, payload: dict[str, Any]) -> None:
        """``tell_user``, on whichever server they are connected."""
        self.tell_user(user_id, event, payload)
        self.tell_elsewhere(user_id, event, payload)

    def tell_all(self, event: str, payload: dict[str, Any]) -> None:
        self._deliver(event, payload, list(self._by_sid))


def _nobody(user_id: str, event: str, payload: dict[str, Any]) -> None:
    """There are no other servers."""
