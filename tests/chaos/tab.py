"""A careful client: repeats a call until it is answered, comes back, and goes on where it was,
there or on another server."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import socketio.exceptions

from tests.chaos.evidence import BEGUN, END, OPENED, SETTLED, Seen
from tests.support.client import Client

CONNECT_SECONDS = 4.0
CALL_SECONDS = 6.0
"""Beyond it a careful client takes the connection for dead: a frozen server closes none."""

_numbers = itertools.count(1)
ticks = itertools.count(1)
"""The order of what happens to all clients of this process."""


class Lost(Exception):
    """The connection ended before the call was answered."""


class Refused(Exception):
    """A call was answered with an error that no retry changes."""

    def __init__(self, about: str, code: str = "") -> None:
        super().__init__(about)
        self.code = code


class GaveUp(Exception):
    """Even the time to heal was not enough."""


class Connection(Client):
    """One connection of a tab. What comes is recorded in the moment it comes, answers included."""

    def __init__(self, url: str, tab: Tab) -> None:
        super().__init__(url, tab.token)
        self.number = next(_numbers)
        self.opened: set[str] = set()
        self._tab = tab
        self._gone = asyncio.Event()
        self.socket.on("disconnect", lambda *_: self._gone.set())
        # A session of our own: it is closed whatever becomes of the attempt to connect.
        self._http = aiohttp.ClientSession()
        self.socket.eio.http, self.socket.eio.external_http = self._http, True

    @property
    def is_alive(self) -> bool:
        return bool(self.socket.connected) and not self._gone.is_set()

    def _recorder(self, name: str) -> Any:
        return lambda payload=None: self.record(name, payload or {})

    def record(self, name: str, payload: dict[str, Any]) -> None:
        self.events.append((name, payload))
        self._tab.take(Seen(self.number, name, payload, time.monotonic()), self.url)

    async def call(self, name: str, *arguments: Any) -> dict[str, Any]:
        """Raises ``Lost``. The fields of ``conversation:open`` need its id in the answer's record,
        so that it stands in its place among the events."""
        fields = arguments[0]
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def arrived(body: dict[str, Any]) -> None:
            if body["ok"] and name == "conversation:open":
                self.record(OPENED, {**body, "conversation_id": fields["conversation_id"]})
            if body["ok"] and name == "message:send" and "conversation_id" not in fields:
                self.opened.add(body["conversation_id"])
                self.record(BEGUN, {"conversation_id": body["conversation_id"]})
            if not answered.done():
                answered.set_result(body)

        gone = asyncio.create_task(self._gone.wait())
        try:
            await self.socket.emit(name, fields, callback=arrived)
            await asyncio.wait(
                {gone, answered}, timeout=CALL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        except (socketio.exceptions.SocketIOError, OSError) as error:
            raise Lost from error
        finally:
            gone.cancel()
        if not answered.done():
            raise Lost
        return answered.result()

    async def drop(self) -> None:
        """End it without a goodbye, in whatever state it is."""
        self._gone.set()
        await self._http.close()
        loops = (self.socket.eio.read_loop_task, self.socket.eio.write_loop_task)
        running = {task for task in loops if task is not None}
        if running:
            await asyncio.wait(running, timeout=5)


class Tab:
    """Begins on the ``home``-th server and stays while that is up, unless it is told to ``move``;
    ``follow`` keeps it on a conversation's feed."""

    def __init__(self, name: str, urls: Sequence[str], home: int, rng: random.Random) -> None:
        self.name = name
        self.token: str | None = None
        self.seen: list[Seen] = []
        self.ended: set[str] = set()
        self.retries = 0
        self.verdicts: Counter[str] = Counter()
        """What it was given when it came with a cursor, and whether that was from this server."""
        self.deadline = float("inf")
        """By ``time.monotonic()``: past it whatever is tried again gives up."""
        self._urls = urls
        self._rng = rng
        self._url = urls[home % len(urls)]
        self._followed: list[str] = []
        self._cursors: dict[str, tuple[str, str]] = {}
        """By conversation: the last one, and the server that it came from."""
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._sending = 0

    @property
    def connection(self) -> Connection | None:
        return self._connection

    def take(self, seen: Seen, url: str) -> None:
        self.seen.append(seen)
        payload = seen.payload
        # A replay's cursor is its end; what leads there follows, and only then was seen.
        if "cursor" in payload and payload.get("recovery") != "replayed":
            self._cursors[payload["conversation_id"]] = (payload["cursor"], url)
        if seen.name in ("turn:completed", "turn:stopped", "turn:failed"):
            self.ended.add(payload["turn_id"])

    async def follow(self, conversation_id: str) -> None:
        self._followed.append(conversation_id)
        await self.connected()

    async def reopen(self, conversation_id: str) -> None:
        """Off the feed and on again with the last cursor, on the same connection if it lasts."""
        async with self._connecting:
            connection = self._connection
            if connection is None or conversation_id not in connection.opened:
                return
            if self._sending:
                return  # a message puts it on the feed as well: which cursor would be the last?
            try:
                await connection.call("conversation:close", {"conversation_id": conversation_id})
            except Lost:
                return
            connection.opened.discard(conversation_id)
        await self.connected()

    async def move(self) -> None:
        """To another server, as a load balancer would have it, with the cursors it has."""
        async with self._connecting:
            if self._connection is not None:
                await self._connection.drop()
            others = [url for url in self._urls if url != self._url]
            self._url = self._rng.choice(others or self._urls)
        await self.connected()

    async def call(self, name: str, **fields: Any) -> tuple[dict[str, Any], Connection, int]:
        """The same call until it is answered: the answer, the connection, how many tries."""
        for tries in itertools.count(1):
            connection = await self.connected()
            self._sending += 1
            try:
                body = await connection.call(name, fields)
            except Lost:
                body = None
            finally:
                self._sending -= 1
            if body is None:
                self.retries += 1
                await self._leave(connection)
                continue
            if body["ok"]:
                return body, connection, tries
            await self._bear(connection, name, body["error"])
        raise AssertionError

    async def _bear(self, connection: Connection, name: str, error: dict[str, Any]) -> None:
        """Wait a little before the next try; now and then it goes to another server."""
        self._check_deadline(f"{name} is answered with {error}")
        if not error["retryable"] or error["code"] == "internal":
            raise Refused(f"{self.name}: {name} was answered with {error}", error["code"])
        self.retries += 1
        await asyncio.sleep(self._rng.uniform(0.05, 0.4))
        if error["code"] == "unavailable" and self._rng.random() < 0.3:
            await self._leave(connection)

    async def connected(self) -> Connection:
        """A connection that is on the feed of all that is followed."""
        async with self._connecting:
            while True:
                self._check_deadline("connecting")
                connection = self._connection
                if connection is None or not connection.is_alive:
                    connection = await self._connect()
                if connection is not None and await self._open_all(connection):
                    return connection

    async def _connect(self) -> Connection | None:
        if self._connection is not None:
            await self._connection.drop()
        self._connection = connection = Connection(self._url, self)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
        except (socketio.exceptions.SocketIOError, OSError, AssertionError):
            await connection.drop()
            self._url = self._rng.choice(self._urls)
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))
            return None
        self.token = connection.token
        return connection

    async def _open_all(self, connection: Connection) -> bool:
        for conversation_id in self._followed:
            while conversation_id not in connection.opened:
                fields = {"conversation_id": conversation_id}
                came_from = None
                if conversation_id in self._cursors:
                    fields["after"], came_from = self._cursors[conversation_id]
                try:
                    body = await connection.call("conversation:open", fields)
                except Lost:
                    await connection.drop()
                    return False
                if body["ok"]:
                    connection.opened.add(conversation_id)
                    if came_from is not None:
                        where = "same" if came_from == connection.url else "other"
                        self.verdicts[f"{body['recovery']} by the {where} server"] += 1
                    continue
                await self._bear(connection, "conversation:open", body["error"])
                if not connection.is_alive:
                    return False
        return True

    async def _leave(self, connection: Connection) -> None:
        """Another server may do better."""
        await connection.drop()
        if self._rng.random() < 0.6:
            self._url = self._rng.choice(self._urls)

    def _check_deadline(self, doing: str) -> None:
        if time.monotonic() > self.deadline:
            raise GaveUp(f"{self.name} gave up: {doing}")

    async def cut(self) -> None:
        """The saboteur's: the connection breaks, and the tab has to notice by itself."""
        connection = self._connection
        if connection is not None and connection.is_alive:
            transport = connection.socket.eio.ws._response.connection.transport
            if transport is not None:  # it may be closing by itself just now
                transport.abort()

    async def finish(self) -> None:
        """Open everything once more, and then on another server."""
        connection = await self.connected()
        connection.record(SETTLED, {})
        for conversation_id in self._followed:
            await self.reopen(conversation_id)
        # What a replay still owes comes before the answer to a later call.
        await self.call("conversation:list")
        connection = await self.connected()
        connection.record(END, {})
        # The log was there a moment ago, so now it is replayed, whichever server one comes to.
        await self.move()
        await self.call("conversation:list")

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.drop()
