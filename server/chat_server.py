"""The chat server in one piece: its parts put together, started, drained and closed in reverse."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from aiohttp import web

from agent.answering import Agent
from agent.finding import Finder
from server.attachments import Attachments
from server.calls.conversations import told
from server.calls.feedback import FeedbackCalls
from server.calls.making import Parts, make_calls
from server.choices import Choices
from server.deletion import Deletion
from server.drained import Returns
from server.edge import http
from server.edge.addresses import Addresses
from server.edge.admission import Admission
from server.edge.connections import Connection, Connections
from server.edge.handshakes import Handshakes, Runner
from server.edge.rates import Rates
from server.edge.sessions import Sessions
from server.edge.transport import Transport
from server.erasing import Erasing
from server.facts import Facts
from server.feed.feeds import Feeds
from server.feed.shown import Shown
from server.feed.upkeep import Upkeep
from server.identity.guest_secrets import GuestSecrets
from server.identity.identity import Identity
from server.limits import Limits
from server.observability import measures
from server.observability.health import Health
from server.observability.loop_lag import LoopLag
from server.observability.metrics import Metrics
from server.observability.traced import traced_calls
from server.observability.traces import Traces
from server.signals import Signals
from server.tasks import Tasks
from server.turns.acceptance import Memory as MessageMemory
from server.turns.answering import Answering
from server.turns.budgets import Budgets
from server.turns.leases import Leases
from server.turns.slot import Slot
from server.turns.titles import Titling
from server.workers.port import CannotListen
from stores.contract import Store

log = logging.getLogger(__name__)

# Clients of a stopping server come back one by one, not all in one moment: as long apart as another
# server needs to let one in and show it a conversation, but for the last within a second.
RECONNECT_APART_MS = 10
RECONNECT_SPREAD_MS = 1000

# How often the store is asked for the guests' secret where it was away at the start.
SETTLE_SECONDS = 0.2


class Memory(MessageMemory, Protocol):
    """What the server asks of the conversation memory."""

    @property
    def state(self) -> Literal["redis", "local"]: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    async def check(self) -> None: ...


class Workmates(Protocol):
    """The other processes on this port. What this one measures they ask of ``measures``."""

    measures: Callable[[], bytes]

    async def gather(self) -> bytes: ...


class ChatServer:
    """``start``, then ``drain`` and ``close``. ``who`` says who may connect."""

    def __init__(
        self,
        *,
        store: Store,
        memory: Memory,
        facts: Facts,
        agent: Agent,
        finder: Finder,
        identity: Identity,
        guests: GuestSecrets | None,
        slot: Slot,
        limits: Limits,
        redis_url: str,
        lease_seconds: float,
        sweep_seconds: float,
        cors_origins: tuple[str, ...],
        trusted_proxies: tuple[str, ...],
        page: Path,
        worker: Workmates | None,
        traces: Traces,
        choices: Choices,
    ) -> None:
        """``worker``: None where this is the only process on its port."""
        self._store = store
        self._memory = memory
        self._facts = facts
        self._slot = slot
        self._page = page
        self._choices = choices
        self._worker = worker
        self._identity = identity
        self._guests = guests
        self.who = identity.description
        self._stack = AsyncExitStack()
        self._tasks = Tasks()
        self.transport = Transport(
            cors_origins=cors_origins,
            calls_under_way=limits.calls_under_way,
            outbox_bytes=limits.outbox_bytes,
            connect_seconds=limits.connect_seconds,
        )
        self._handshakes = Handshakes(limits.connect_seconds)
        self.connections = Connections(self.transport.deliver)
        self.health = Health(
            store,
            memory,
            agent,
            feed_state=lambda: self.feeds.state,
            changed=self._tell_status,
        )
        self.signals = Signals(slot.owner)
        self.feeds = Feeds(
            self.transport.deliver,
            store,
            Shown(memory, store),
            redis_url=redis_url,
            server=slot.owner,
            said=lambda turn_id: self.answering.runs.said(turn_id),
        )
        self.budgets = Budgets(
            store.usage,
            per_user=limits.user_tokens_per_day,
            together=limits.tokens_per_day,
            server=slot.owner,
        )
        titling = Titling(
            conversations=store.conversations,
            turns=store.turns,
            agent=agent,
            tell=lambda conversation: told(self.connections, "conversation:updated", conversation),
        )
        self.answering: Answering = Answering(
            conversations=store.conversations,
            turns=store.turns,
            memory=memory,
            feeds=self.feeds,
            agent=agent,
            signals=self.signals,
            owner=slot.owner,
            lease_ms=int(lease_seconds * 1000),
            max_running=limits.running_turns,
            max_attempts=limits.turn_attempts,
            ended=self.budgets.ended,
            untold=self.budgets.untold,
            first_answered=titling.first_answered,
            answered=lambda turn: finder.turn_ended(turn.conversation_id, turn.user_id),
            traces=traces,
            max_waiting_per_user=limits.queued_turns_per_user,
        )
        self.leases = Leases(self.answering, store.turns, self.signals, sweep_seconds=sweep_seconds)
        self.upkeep = Upkeep(
            self.feeds,
            self.answering.holds,
            positions=store.conversations.positions,
            gone=self._forget,
        )
        self.deletion = Deletion(
            conversations=store.conversations,
            memory=memory,
            feeds=self.feeds,
            answering=self.answering,
            signals=self.signals,
        )
        self.erasing = Erasing(
            conversations=store.conversations,
            erasures=store.erasures,
            facts=store.facts,
            deletion=self.deletion,
            tell=self.connections.tell_everywhere,
        )
        self.attachments = Attachments(
            store.attachments,
            store.turns,
            most=limits.attachments,
            most_bytes=limits.attachment_bytes,
            most_bytes_per_user=limits.attachment_bytes_per_user,
        )
        self.returns = Returns(memory, self.feeds, self._drop)
        self._hear_signals()
        self.rates = Rates(
            calls=limits.calls_per_minute,
            messages=limits.messages_per_minute,
            redis_url=redis_url,
        )
        self.feedback = FeedbackCalls(
            connections=self.connections,
            conversations=store.conversations,
            turns=store.turns,
            memory=memory,
        )
        parts = Parts(
            store=store,
            memory=memory,
            facts=facts,
            finder=finder,
            connections=self.connections,
            feeds=self.feeds,
            answering=self.answering,
            attachments=self.attachments,
            deletion=self.deletion,
            erasing=self.erasing,
            budgets=self.budgets,
            rates=self.rates,
            choices=choices,
            limits=limits,
        )
        self.calls = make_calls(parts, self.feedback)
        self.sessions = self._sessions(identity, limits, Addresses(trusted_proxies))
        self.transport.dispatch = traced_calls(self.calls.dispatch, self.calls.known, traces)
        self.transport.on_connected = self.sessions.connected
        self.transport.on("connect", self.sessions.connecting)
        self.transport.on("disconnect", self.sessions.disconnected)
        self.loop_lag = LoopLag()

    def _hear_signals(self) -> None:
        self.signals.on("stop", lambda told: self.answering.stop_here(told["turn_id"]))
        self.signals.on("deleted", lambda told: self._forget(told["conversation_id"]))
        self.signals.on(
            "user",
            lambda told: self.connections.tell_user(told["user_id"], told["event"], told["body"]),
        )
        self.signals.on("facts", lambda told: self._facts_changed(told["user_id"]))
        self._facts.tell = self._tell_facts_changed
        self.connections.tell_elsewhere = lambda user_id, event, body: self.signals.send(
            "user", user_id=user_id, event=event, body=body
        )

    def _tell_facts_changed(self, user_id: str) -> None:
        self.connections.tell_user(user_id, "memory:updated", {})
        self.signals.send("facts", user_id=user_id)

    def _facts_changed(self, user_id: str) -> None:
        """By another server."""
        self._facts.drop(user_id)
        self.connections.tell_user(user_id, "memory:updated", {})

    def _forget(self, conversation_id: str) -> None:
        """The conversation was deleted, by whichever server."""
        self._store.forget(conversation_id)
        self._drop(conversation_id)

    def _drop(self, conversation_id: str) -> None:
        """Nobody answers it or follows it here any more."""
        self.answering.forget(conversation_id)
        self.feeds.forget(conversation_id)

    def _metrics(self) -> Metrics:
        return Metrics(
            (
                measures.of_this_build,
                partial(measures.of_connections, self.connections, self.transport, self.sessions),
                partial(measures.of_calls, self.calls),
                partial(measures.of_turns, self.answering),
                partial(measures.of_feedback, self.feedback),
                partial(measures.of_budgets, self.budgets),
                partial(measures.of_feeds, self.feeds),
                partial(measures.of_memory, self._memory),
                partial(measures.of_store, self._store, self.health),
                partial(measures.of_the_loop, self.loop_lag.lag),
            )
        )

    def _sessions(self, identity: Identity, limits: Limits, addresses: Addresses) -> Sessions:
        admission = Admission(
            self.connections,
            addresses,
            per_user=limits.connections_per_user,
            per_address=limits.connections_per_address,
        )
        return Sessions(
            identity=identity,
            connections=self.connections,
            admission=admission,
            feeds=self.feeds,
            health=self.health,
            is_open=self.transport.is_open,
            drop=self.transport.drop,
            limits={
                "message_chars": limits.message_chars,
                "attachments": limits.attachments,
                "attachment_bytes": limits.attachment_bytes,
                "messages_per_minute": limits.messages_per_minute,
                "calls_per_minute": limits.calls_per_minute,
                "queued_turns": limits.queued_turns,
                "open_conversations": limits.open_conversations,
            },
            max_following=limits.open_conversations,
            choices=self._choices,
            memory=self._facts.enabled,
        )

    async def start(self, host: str, port: int) -> int:
        """Take over what this slot's earlier lives left, then listen; the port. Raises
        ``CannotListen``, and ``Unavailable`` where the store is away. 0: a free port."""
        await self._store.turns.release(self._slot.id)
        self._stack.push_async_callback(self.rates.close)
        await self.rates.connect()
        self._stack.push_async_callback(self.feeds.close)
        await self.feeds.connect()
        self._stack.push_async_callback(self.returns.close)
        if self.feeds.shared is not None:
            self.signals.connect(self.feeds.shared)
        self._stack.push_async_callback(self.signals.close)
        app = http.application(
            self.health, self._handshakes, websocket_only=self._worker is not None
        )
        self.transport.attach(app)
        metrics = self._metrics()
        if self._worker is not None:
            self._worker.measures = metrics.text
        gather = self._worker.gather if self._worker else None
        http.add_routes(app, self.health, metrics, self._page, gather)
        runner = Runner(app, self._handshakes, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            self._site = web.TCPSite(runner, host, port, reuse_port=self._worker is not None)
            await self._site.start()
        except OSError as error:
            raise CannotListen.at(host, port, error) from error
        self._stack.push_async_callback(self.budgets.close)
        self._stack.push_async_callback(self.erasing.close)
        self._stack.push_async_callback(self._tasks.close)
        self._tasks.start(self.budgets.share_forever(), "budgets")
        self._tasks.start(self.health.check_forever(), "health")
        self._tasks.start(self.loop_lag.measure_forever(), "loop lag")
        self._tasks.start(self._settle_guests(), "guests' secret")
        self._tasks.start(self.leases.renew_forever(), "lease renewal")
        self._tasks.start(self.leases.sweep_forever(), "turn sweep")
        self._tasks.start(self.deletion.sweep_forever(), "deletion sweep")
        self._tasks.start(self.erasing.sweep_forever(), "erasing sweep")
        self._tasks.start(self.attachments.sweep_forever(), "attachment sweep")
        self._tasks.start(self.upkeep.look_elsewhere_forever(), "feeds of other servers")
        self._tasks.start(self.upkeep.compare_forever(), "feeds compared")
        self._tasks.start(self.upkeep.look_for_unheard_forever(), "feeds heard")
        self._tasks.start(self.upkeep.let_go_forever(), "feeds let go")
        return int(runner.addresses[0][1])

    async def _settle_guests(self) -> None:
        """Where the store was away at the start, its secret is still to be had."""
        if (guests := self._guests) is None:
            return
        while True:
            if await guests.settle(self._identity.trust_guests_of):
                return
            await asyncio.sleep(SETTLE_SECONDS)

    async def leave_port(self) -> None:
        """Take no connections any more: the other processes get all of them."""
        await self._site.stop()

    async def drain(self, grace: float) -> None:
        """No new work; running answers get ``grace`` seconds; the rest is let go for another
        server to begin at once; then every client is sent to one."""
        self.health.draining = True
        leaving = list(self.connections)
        spread = min(len(leaving) * RECONNECT_APART_MS, RECONNECT_SPREAD_MS)
        moving = [
            self._tasks.start(self._move(connection, random.randint(0, spread)), "move")
            for connection in leaving
        ]
        await self.answering.drain(grace)
        if moving:
            await asyncio.wait(moving)
        await self.transport.close()

    async def _move(self, connection: Connection, delay: int) -> None:
        """Send a client to another server, in its own moment (``delay``: in milliseconds): all at
        once would be a stampede. One that is being told an answer by this server may hear its end
        first."""
        self.connections.tell(connection, "server:draining", {"reconnect_in_ms": delay})
        await asyncio.sleep(delay / 1000)
        if not any(map(self.answering.runs.of, connection.following)):
            self.transport.drop(connection.sid)

    async def close(self) -> None:
        """Close what ``start`` opened, in reverse."""
        await self._stack.aclose()

    def _tell_status(self, status: dict[str, Any]) -> None:
        self.connections.tell_all("server:status", status)
