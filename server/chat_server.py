"""The chat server in one piece: its parts put together, started, drained and closed in reverse."""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from aiohttp import web

from agent.answering import Agent
from memory.records import Message, Position, Transcript
from server import http
from server.calls import Calls
from server.connections import Connections
from server.deletion import Deletion
from server.feed.feeds import Feeds
from server.feed.upkeep import Upkeep
from server.health import Health
from server.identity import Identity
from server.sessions import Sessions
from server.stores import Store
from server.tasks import Tasks
from server.transport import Transport
from server.turns.acceptance import Acceptance
from server.turns.answering import Answering
from server.turns.leases import Leases
from server.turns.slot import Slot

log = logging.getLogger(__name__)

# Clients of a stopping server come back spread over this time, not all in one moment.
RECONNECT_SPREAD_MS = 1500


class Memory(Protocol):
    """What the server asks of the conversation memory."""

    @property
    def state(self) -> Literal["redis", "local"]: ...

    async def check(self) -> None: ...

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...

    async def remember(
        self, conversation_id: str, message: Message, position: Position
    ) -> None: ...

    async def forget(self, conversation_id: str) -> None: ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """0 switches a limit off."""

    message_chars: int
    running_turns: int
    queued_turns: int
    turn_attempts: int


class CannotListen(Exception):
    """The address or the port can't be had."""


class ChatServer:
    """``start``, then ``drain`` and ``close``. ``who`` says who may connect."""

    def __init__(
        self,
        *,
        store: Store,
        memory: Memory,
        agent: Agent,
        identity: Identity,
        slot: Slot,
        limits: Limits,
        lease_seconds: float,
        cors_origins: tuple[str, ...],
        page: Path,
    ) -> None:
        self._store = store
        self._slot = slot
        self._page = page
        self.who = identity.description
        self._stack = AsyncExitStack()
        self._tasks = Tasks()
        self.transport = Transport(cors_origins=cors_origins)
        self.connections = Connections(self.transport.deliver)
        self.health = Health(store, memory, agent, changed=self._tell_status)
        self.feeds = Feeds(self.transport.deliver, store, memory)
        self.answering = Answering(
            conversations=store.conversations,
            turns=store.turns,
            memory=memory,
            feeds=self.feeds,
            agent=agent,
            owner=slot.owner,
            lease_ms=int(lease_seconds * 1000),
            max_running=limits.running_turns,
            max_attempts=limits.turn_attempts,
        )
        self.leases = Leases(self.answering, store.turns)
        self.upkeep = Upkeep(self.feeds, self.answering.holds)
        self.deletion = Deletion(
            conversations=store.conversations,
            memory=memory,
            feeds=self.feeds,
            answering=self.answering,
        )
        calls = self._calls(memory, limits)
        sessions = self._sessions(identity, limits)
        self.transport.dispatch = calls.dispatch
        self.transport.on_connected = sessions.connected
        self.transport.on("connect", sessions.connecting)
        self.transport.on("disconnect", sessions.disconnected)

    def _calls(self, memory: Memory, limits: Limits) -> Calls:
        store = self._store
        acceptance = Acceptance(
            conversations=store.conversations,
            turns=store.turns,
            memory=memory,
            feeds=self.feeds,
            answering=self.answering,
            max_waiting=limits.queued_turns,
        )
        return Calls(
            connections=self.connections,
            conversations=store.conversations,
            turns=store.turns,
            deletion=self.deletion,
            feeds=self.feeds,
            acceptance=acceptance,
            answering=self.answering,
            max_message_chars=limits.message_chars,
        )

    def _sessions(self, identity: Identity, limits: Limits) -> Sessions:
        return Sessions(
            identity=identity,
            connections=self.connections,
            feeds=self.feeds,
            health=self.health,
            is_open=self.transport.is_open,
            drop=self.transport.drop,
            limits={"message_chars": limits.message_chars, "queued_turns": limits.queued_turns},
        )

    async def start(self, host: str, port: int) -> int:
        """Take over what this slot's earlier lives left, then listen; the port. Raises
        ``CannotListen``, and ``Unavailable`` where the store is away. 0: a free port."""
        await self._store.turns.release(self._slot.id)
        app = web.Application()
        self.transport.attach(app)
        http.add_routes(app, self.health, self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            reason = (error.strerror or str(error)).rpartition(": ")[2]
            raise CannotListen(f"HOST {host}, PORT {port}: {reason}.") from error
        self._stack.push_async_callback(self._tasks.close)
        self._tasks.start(self.health.check_forever(), "health")
        self._tasks.start(self.leases.renew_forever(), "lease renewal")
        self._tasks.start(self.leases.sweep_forever(), "turn sweep")
        self._tasks.start(self.deletion.sweep_forever(), "deletion sweep")
        self._tasks.start(self.upkeep.look_elsewhere_forever(), "feeds of other servers")
        self._tasks.start(self.upkeep.let_go_forever(), "feeds let go")
        return int(runner.addresses[0][1])

    async def drain(self, grace: float) -> None:
        """No new work; running answers get ``grace`` seconds; the rest is let go for another
        server to begin at once; then every client is sent to one."""
        self.health.draining = True
        for connection in self.connections:
            soon = {"reconnect_in_ms": random.randrange(RECONNECT_SPREAD_MS)}
            self.connections.tell(connection, "server:draining", soon)
        await self.answering.drain(grace)
        await self.transport.close()

    async def close(self) -> None:
        """Close what ``start`` opened, in reverse."""
        await self._stack.aclose()

    def _tell_status(self, status: dict[str, Any]) -> None:
        self.connections.tell_all("server:status", status)
