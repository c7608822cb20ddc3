"""Who is connected: each connection's user, its feeds, and the order of its calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from memory.locks import KeyedLocks
from server.errors import Busy


class Connection:
    """One client's connection, from its CONNECT to its end."""

    def __init__(
        self,
        sid: str,
        user_id: str,
        *,
        guest: bool,
        address: str | None = None,
        max_following: int = 0,
    ) -> None:
        """``address`` is what it is counted by, and ``max_following`` 0 no limit."""
        self.sid = sid
        self.user_id = user_id
        self.guest = guest
        self.address = address
        self.order = KeyedLocks()  # its calls about one conversation take effect in their order
        self.paying = asyncio.Lock()  # held while one of its calls is counted, in the same order
        self.following: set[str] = set()  # the conversations whose feeds it is on
        self._max_following = max_following
        self._joining: set[str] = set()
        self.expiry: asyncio.TimerHandle | None = None
        self.closed = False

    @contextmanager
    def joining(self, conversation_id: str) -> Iterator[None]:
        """Keep a place among those it follows while it is put on a feed. Raises ``Busy``."""
        there = self.following | self._joining
        if self._max_following and len(there - {conversation_id}) >= self._max_following:
            raise Busy("Too many conversations are open here: close some.")
        self._joining.add(conversation_id)
        try:
            yield
        finally:
            self._joining.discard(conversation_id)


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
        self._from_address: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_sid.values()))

    def __len__(self) -> int:
        return len(self._by_sid)

    def add(self, connection: Connection) -> None:
        self._by_sid[connection.sid] = connection
        self._by_user.setdefault(connection.user_id, {})[connection.sid] = connection
        if connection.address is not None:
            self._from_address[connection.address] += 1

    def of_user(self, user_id: str) -> int:
        return len(self._by_user.get(user_id, ()))

    def from_address(self, address: str) -> int:
        return self._from_address[address]

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
        if (address := connection.address) is not None:
            self._from_address[address] -= 1
            if not self._from_address[address]:
                del self._from_address[address]
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
