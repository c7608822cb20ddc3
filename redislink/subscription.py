"""One connection that listens to channels, and comes back by itself when it is lost.

What is published while it is away is not heard, and nothing of it comes later: whoever listens is
told by ``on_return`` and must look for itself. A link that is silent but not closed can't be told
from one on which nothing happens; so somebody has to publish to a channel of its own, and call
``restart`` when it does not hear that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from redislink.link import LOST

log = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
CONFIRM_SECONDS = 1.0
RETRY_SECONDS = (0.1, 0.2)
LONGEST_RETRY_SECONDS = 1.0
MOST_AT_ONCE = 500
"""Channels in one command, when all of them are asked for again."""

Handler = Callable[[bytes], None]


class NotListening(Exception):
    """The channel can't be listened to at the moment."""


class Subscription:
    """Belongs to the event loop it is started in. ``on_return`` is called whenever it listens again
    to everything, also the first time. A handler must not raise."""

    def __init__(self, url: str, *, name: str, on_return: Callable[[], None]) -> None:
        """Raises ``ValueError`` for a URL that is none of Redis. Opens nothing yet."""
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=1,
            socket_timeout=None,  # it may be silent for hours
            socket_connect_timeout=CONNECT_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._name = name
        self._on_return = on_return
        self._handlers: dict[bytes, Handler] = {}
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}
        self._asked: Counter[bytes] = Counter()
        """Confirmations that are still to come. Only the last one counts: after an earlier one may
        come the end of what it confirmed."""
        self._commands: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None
        self._given_up = asyncio.Event()
        self.listening = False

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=f"{self._name}-subscription")

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def listen(self, channel: bytes, handler: Handler) -> None:
        """Returns once everything that is published to ``channel`` from now on is heard.

        Raises ``NotListening`` where that is not so within a second; it is not listened to then.
        """
        self._handlers[channel] = handler
        confirmed = self._confirmed.get(channel)
        if confirmed is None or confirmed.cancelled():
            confirmed = self._confirmed[channel] = asyncio.get_running_loop().create_future()
            self._asked[channel] += 1
            self._commands.put_nowait(("SUBSCRIBE", channel))
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await asyncio.shield(confirmed)
        except (TimeoutError, asyncio.CancelledError) as error:
            has_left = confirmed.cancelled()  # else it is the caller who is cancelled
            if self._handlers.get(channel) is handler:
                self.leave(channel)
            if isinstance(error, asyncio.CancelledError) and not has_left:
                raise
            raise NotListening from error

    def leave(self, channel: bytes) -> None:
        """Harmless when it was not listened to."""
        if self._handlers.pop(channel, None) is not None:
            self._forget(channel)
            self._commands.put_nowait(("UNSUBSCRIBE", channel))

    def listens_to(self, channel: bytes) -> bool:
        """Whether it was asked to, and not to leave since."""
        return channel in self._handlers

    def restart(self) -> None:
        """The connection is not to be trusted any more: another one, at once."""
        self._given_up.set()

    def _forget(self, channel: bytes) -> None:
        confirmed = self._confirmed.pop(channel, None)
        if confirmed is not None:
            confirmed.cancel()

    async def _keep(self) -> None:
        delay = random.uniform(*RETRY_SECONDS)
        while True:
            connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._pool.ensure_connection(connection)
                delay = random.uniform(*RETRY_SECONDS)
                self._given_up.clear()
                async with asyncio.TaskGroup() as work:
                    work.create_task(self._read(connection))
                    work.create_task(self._ask(connection))
                    work.create_task(self._give_up())
            except* LOST as errors:
                why = errors.exceptions[0]
                log.debug("A subscription is lost.", extra={"error": type(why).__name__})
            except* Exception:  # the top of a task that must not end
                log.exception("A subscription failed.", extra={"action": "redis.subscription"})
            finally:
                self.listening = False
                self._nothing_is_heard()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_RETRY_SECONDS)

    def _nothing_is_heard(self) -> None:
        """Whoever listens now has to wait until all channels are asked for again."""
        for channel, confirmed in self._confirmed.items():
            if confirmed.done():
                self._confirmed[channel] = asyncio.get_running_loop().create_future()

    async def _give_up(self) -> None:
        await self._given_up.wait()
        raise ConnectionError("given up")

    async def _ask(self, connection: AbstractConnection) -> None:
        """Ask for all channels, then for what is wanted as it comes."""
        while not self._commands.empty():
            self._commands.get_nowait()
        channels = list(self._handlers)
        self._asked = Counter(channels)
        waiting = [self._confirmed[channel] for channel in channels]
        for first in range(0, len(channels), MOST_AT_ONCE):
            await self._send(connection, "SUBSCRIBE", channels[first : first + MOST_AT_ONCE])
        if waiting:
            await asyncio.wait(waiting)
        self.listening = True
        self._on_return()
        while True:
            name, channel = await self._commands.get()
            together = [channel]
            while not self._commands.empty() and len(together) < MOST_AT_ONCE:
                following, channel = self._commands.get_nowait()
                if following != name:
                    await self._send(connection, name, together)
                    name, together = following, []
                together.append(channel)
            await self._send(connection, name, together)

    @staticmethod
    async def _send(connection: AbstractConnection, name: str, channels: list[bytes]) -> None:
        command: Any = (name, *channels)
        await connection.send_packed_command(hiredis.pack_command(command))

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            message: Any = await connection.read_response(disable_decoding=True)
            kind, channel, content = message
            if kind == b"message":
                self._hand(channel, content)
            elif kind == b"subscribe":
                self._confirm(channel)

    def _hand(self, channel: bytes, content: bytes) -> None:
        handler = self._handlers.get(channel)
        if handler is None:
            return
        try:
            handler(content)
        except Exception as error:  # noqa: BLE001  # one channel must not cost the others
            log.warning(
                "What was heard can't be used.",
                extra={"action": "redis.heard", "channel": channel, "error": repr(error)[:200]},
            )

    def _confirm(self, channel: bytes) -> None:
        self._asked[channel] -= 1
        if self._asked[channel] > 0:
            return
        del self._asked[channel]
        confirmed = self._confirmed.get(channel)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
