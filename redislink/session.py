"""What one event loop holds open: the link to Redis, and the task that brings Redis back.

The breaker lives here. While it is open (``connected`` is False) nothing is asked of Redis, so an
outage costs nothing. It opens at once on a refusal or a lost connection, and on the second time-out
in a row (one may be a slow moment). It closes in this order: a probe that *writes*
succeeds (PING passes on a read-only, full or failing Redis), what the outage made stale is
repaired, and only then Redis is used again; closing first would serve what is stale.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from typing import Literal, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis import exceptions

from redislink.link import IN_DOUBT, IN_USE, PROBED, Allowed, Link, RedisAway, Reply, Script

log = logging.getLogger(__name__)

State = Literal["redis", "local"]
Told = Callable[[BaseException | None], None]
"""Hears of each change in its moment: None when Redis is used (again), else why it is not."""

PROBE_MS = 1_000
TIMEOUTS_TO_OPEN = 2
PROBE_SECONDS = (0.1, 0.2)
"""Jittered, so that many servers don't fall on a returning Redis in one instant."""


DOUBT_SECONDS = 2.0
_silent_at: dict[str, float] = {}
"""By URL: when some session of this process last met a silence. A turn asks by several sessions,
and waits for the same silence once."""


class Repairs(Protocol):
    """What must be put right in Redis before, or while, it is used again."""

    @property
    def wanting(self) -> bool: ...

    async def repair(self, link: Link) -> None:
        """Raises ``RedisAway``; whatever is done by then stays done."""
        ...


class Session:
    def __init__(
        self,
        url: str,
        repairs: Repairs,
        *,
        name: str,
        tell: Told,
        on_change: Callable[[State], None] | None = None,
        probe: Script | None = None,
    ) -> None:
        """Must be made inside the event loop it is for. Raises ``ValueError`` for a bad URL.

        ``name`` says whose it is, in the probe's key and the tasks' names. ``tell`` also hears how
        the first attempt went; ``on_change`` only what changes after it. ``probe`` is run on a key
        of its own and must succeed as well: it does what will be asked of Redis.
        """
        self.loop = asyncio.get_running_loop()
        self.connected = False
        self._repairs = repairs
        self._name = name
        self._tell = tell
        self._on_change = on_change
        self._needs = probe
        self._link = Link(url, on_success=self._succeeded, on_failure=self._failed)
        self._link.allowed = self._allowed
        self._url = url
        self._timeouts = 0
        self._announced = asyncio.Event()
        self._wanted = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(), name=f"{name}-redis-keeper")

    async def opened(self) -> None:
        """Returns when the first attempt to connect is over, whatever came of it."""
        if not self._announced.is_set():
            await self._announced.wait()

    async def command(self, *arguments: str | bytes | int, may_be_refused: bool = False) -> Reply:
        """Raises ``RedisAway``, at once while the breaker is open. See ``Link.command``."""
        if not self.connected:
            raise RedisAway("the breaker is open")
        return await self._link.command(*arguments, may_be_refused=may_be_refused)

    async def run(
        self, script: Script, keys: tuple[bytes, ...], *arguments: str | bytes | int
    ) -> Reply:
        """Raises ``RedisAway``, at once while the breaker is open."""
        return await self.submit(script, keys, *arguments)

    def submit(
        self, script: Script, keys: tuple[bytes, ...], *arguments: str | bytes | int
    ) -> asyncio.Future[Reply]:
        """``run`` for a caller that does not wait. Raises ``RedisAway``; so may the future."""
        if not self.connected:
            raise RedisAway("the breaker is open")
        return self._link.submit(script, keys, *arguments)

    def repair_soon(self) -> None:
        self._wanted.set()

    async def close(self) -> None:
        """Harmless when repeated, and from another event loop (this one's end has closed it)."""
        self.connected = False
        if asyncio.get_running_loop() is self.loop:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        # The end of an event loop cancels this task, so a script that never closes leaves nothing.
        try:
            error = await self._recover()
            if error is not None:
                self._tell(error)
            self._announced.set()
            while True:
                await self._wanted.wait()
                await asyncio.sleep(random.uniform(*PROBE_SECONDS))
                await self._recover()
        finally:
            self.connected = False
            self._announced.set()
            await self._link.close()

    async def _recover(self) -> BaseException | None:
        """One attempt to use Redis again, or to finish repairs; the error if it failed."""
        self._wanted.set()
        try:
            await self._probe()
            await self._repairs.repair(self._link)
        except RedisAway as error:
            return error
        except Exception as error:  # the top of a task that must not end
            log.exception("Redis could not be repaired", extra={"action": f"{self._name}.repair"})
            return error
        if not self._repairs.wanting:
            self._wanted.clear()
        if not self.connected:
            self.connected = True
            self._count_timeouts(0)
            self._tell(None)
            self._changed("redis")
        return None

    async def _probe(self) -> None:
        key = f"{self._name}:probe:{secrets.token_hex(8)}"
        await self._link.command("SET", key, b"1", "PX", PROBE_MS)
        await self._link.command("DEL", key)
        if self._needs is not None:
            await self._link.run(self._needs, (key.encode(),))

    def _succeeded(self) -> None:
        self._count_timeouts(0)

    def _count_timeouts(self, count: int) -> None:
        self._timeouts = count
        if count:
            _silent_at[self._url] = self.loop.time()

    def _allowed(self) -> Allowed:
        if not self.connected:
            return PROBED
        is_doubted = self.loop.time() - _silent_at.get(self._url, -DOUBT_SECONDS) < DOUBT_SECONDS
        return IN_DOUBT if self._timeouts or is_doubted else IN_USE

    def _failed(self, error: BaseException) -> None:
        if not self.connected:
            return
        if isinstance(error, TimeoutError | exceptions.TimeoutError):
            self._count_timeouts(self._timeouts + 1)
            if self._timeouts < TIMEOUTS_TO_OPEN:
                return
        self.connected = False
        self._count_timeouts(0)
        self._link.fail_waiting(error)
        self._wanted.set()
        if not isinstance(error, asyncio.CancelledError):  # that is our own closing
            self._tell(error)
            self._changed("local")

    def _changed(self, state: State) -> None:
        if self._on_change is not None and self._announced.is_set():
            self._on_change(state)


def url_without_password(url: str) -> str:
    """For logs: the URL as it was given, less its password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    query = [pair for pair in parse_qsl(parts.query) if "password" not in pair[0].lower()]
    netloc = f"{name}{at}{host}" if name else host
    return (
        f"{parts.scheme}://{netloc}{parts.path}{'?' if query else ''}{urlencode(query, safe='/')}"
    )
