"""A connection's beginning and end: who it is, what it is told first, when its token expires."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from server import __version__
from server.choices import Choices
from server.edge.admission import Admission
from server.edge.connections import Connection, Connections
from server.errors import CallError, as_call_error
from server.feed.feeds import Feeds
from server.identity.identity import Caller, Identity
from server.observability.health import Health

log = logging.getLogger(__name__)

# Nobody stays connected for longer; and a timer can't be set for any distance.
LONGEST_TIMER_SECONDS = 30 * 24 * 3600.0


class Sessions:
    """``limits`` is what clients are told of the server's limits: name to number, 0 for none;
    ``max_following`` of how many conversations one connection may be on the feed."""

    def __init__(
        self,
        *,
        identity: Identity,
        connections: Connections,
        admission: Admission,
        feeds: Feeds,
        health: Health,
        is_open: Callable[[str], bool],
        drop: Callable[[str], None],
        limits: Mapping[str, int],
        memory: bool,
        max_following: int,
        choices: Choices,
    ) -> None:
        self._identity = identity
        self._connections = connections
        self._admission = admission
        self._feeds = feeds
        self._health = health
        self._is_open = is_open
        self._drop = drop
        self._limits = dict(limits)
        self._memory = memory
        self._max_following = max_following
        self._choices = choices
        # Named from the start: of what appears with its first case no rate shows that case.
        self.refused = Counter(unauthorized=0, rate_limited=0, unavailable=0, internal=0)
        """Who was not let in, by the error's code."""
        self._connecting: dict[str, tuple[Connection, Caller]] = {}

    async def connecting(self, sid: str, environ: Mapping[str, Any], auth: Any) -> None:
        """Let a client in, or refuse it. Raises nothing but the library's refusal: anything else
        would leak the pending connection and leave the client without an answer."""
        try:
            token = auth.get("token") if isinstance(auth, Mapping) else None
            address = self._admission.address(environ)
            headers = environ["aiohttp.request"].headers
            caller = await self._identity.identify(token, headers, address or "")
            # From here to its place among the connections there is no await: this is the moment.
            self._admission.require_room(caller.user_id, address)
        except Exception as error:
            refusal: CallError = as_call_error(error)
            self.refused[refusal.code] += 1
            if refusal.code == "internal":
                log.error("A client could not be identified.", exc_info=error)
            raise Refused(refusal.message, refusal.shape()) from None
        if not self._is_open(sid):
            # It left while its token was looked at. The library would tell nobody of its end.
            raise Refused("gone")
        connection = Connection(
            sid,
            caller.user_id,
            guest=caller.guest,
            address=address,
            max_following=self._max_following,
        )
        self._connecting[sid] = (connection, caller)

    def connected(self, sid: str) -> None:
        """The client has its CONNECT answer: from here events reach it, ``session`` first."""
        entry = self._connecting.pop(sid, None)
        if entry is None:  # nobody has looked at who it is
            self._drop(sid)
            return
        connection, caller = entry
        self._connections.add(connection)
        session: dict[str, Any] = {
            "user_id": caller.user_id,
            "guest": caller.guest,
            "server": {
                "version": __version__,
                "limits": self._limits,
                "memory": self._memory,
                "shared_memory": self._health.has_shared,
                **self._choices.shape(),
            },
        }
        if caller.guest:
            session["token"] = caller.token
        self._connections.tell(connection, "session", session)
        if self._health.degraded:
            self._connections.tell(connection, "server:status", self._health.status())
        if self._health.draining:
            self._connections.tell(connection, "server:draining", {"reconnect_in_ms": 0})
        if caller.expires_at is not None:
            self._end_at(connection, caller.expires_at)
        log.info(
            "A client connected.",
            extra={"action": "connected", "connection_id": sid, "user_id": caller.user_id},
        )

    def _end_at(self, connection: Connection, expires_at: float) -> None:
        delay = min(max(0.0, expires_at - time.time()), LONGEST_TIMER_SECONDS)
        loop = asyncio.get_running_loop()
        connection.expiry = loop.call_later(delay, self._expire, connection)

    def _expire(self, connection: Connection) -> None:
        self._connections.tell(connection, "session:expired", {})
        # From now on its calls are nobody's, however long it takes to hear that.
        self._left(connection.sid, "expired")
        self._drop(connection.sid)

    async def disconnected(self, sid: str, reason: str) -> None:
        self._connecting.pop(sid, None)
        self._left(sid, reason)

    def _left(self, sid: str, reason: str) -> None:
        connection = self._connections.remove(sid)
        if connection is None:
            return
        for conversation_id in list(connection.following):
            self._feeds.leave(connection, conversation_id)
        log.info(
            "A client left.",
            extra={
                "action": "disconnected",
                "connection_id": sid,
                "user_id": connection.user_id,
                "reason": reason,
            },
        )
