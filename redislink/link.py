"""The connections to one Redis. All requests waiting in one turn of the event loop travel together.

redis-py spends most of a request in Python, once a command; one pipeline for all that is waiting
costs it once a batch. A pool's waiting line is unfair (p99 of 140 ms against p50 of 1 ms was
measured); here nobody waits for a connection, only for the batch.

Nothing is repeated: redis-py's own retries run a command twice when a reply is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 20
MAX_BATCHES = 4
"""In flight at a time. With 20 the batches got smaller: no faster, and three times the p99."""
SOCKET_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 30


class Allowed(NamedTuple):
    """How long Redis may be silent, in seconds: until connected, and for each reply of a batch.

    The socket's time-out is for all of them. A healthy Redis takes milliseconds; waiting longer
    only delays the fallback.
    """

    connect: float
    reply: float


PROBED = Allowed(1.0, 0.5)
"""Nobody waits for it."""
IN_USE = Allowed(0.6, 0.5)
IN_DOUBT = Allowed(0.3, 0.3)
"""It was silent just now. A turn that meets two silences in a row, the second one maybe on a
connection made anew, still loses less than a second."""

PAUSE_SECONDS = 0.1
MAX_BATCH = 16
"""Redis answers nothing of a batch before it has worked through all of it: 8 ms each for
conversations of 5 MB."""
MAX_WAITING = 20_000

LOST = (exceptions.RedisError, OSError, RuntimeError)
"""What a lost connection raises: TimeoutError is an OSError, and uvloop's transports raise a plain
RuntimeError where they are closed already."""

Reply = Any
"""What Redis answers: bytes, an int, None, or a list of these."""


class RedisAway(Exception):
    """Redis can't be used at the moment; what it was asked may have happened all the same."""


class ScriptFailed(RedisAway):
    """A script failed on what it found under its keys. Redis is well."""


class Script:
    """A Lua script of one or several files; sent by its digest, whole where that is unknown."""

    def __init__(self, *files: Path) -> None:
        self.body = b"".join(file.read_bytes() for file in files)
        self.digest = hashlib.sha1(self.body, usedforsecurity=False).hexdigest()


class _Request:
    __slots__ = ("arguments", "future", "may_be_refused", "script")

    def __init__(
        self, script: Script | None, arguments: tuple[Any, ...], *, may_be_refused: bool = False
    ) -> None:
        self.may_be_refused = may_be_refused
        self.script = script
        self.arguments = arguments
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def packed(self, *, whole: bool = False) -> bytes:
        command = self.arguments
        if self.script is not None:
            head = ("EVAL", self.script.body) if whole else ("EVALSHA", self.script.digest)
            command = (*head, *command)
        packed: bytes = hiredis.pack_command(command)
        return packed

    def answer(self, reply: Reply) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            kind = ScriptFailed if is_of_a_script(error) else RedisAway
            away = kind(str(error) or type(error).__name__)
            away.__cause__ = error
            self.future.set_exception(away)


def is_of_a_script(error: BaseException) -> bool:
    """Whether it is about what a script found under its keys: Lua raised it, or a key is of another
    type. What else Redis refuses inside a script keeps Redis's own words."""
    return str(error).startswith(("user_script", "WRONGTYPE"))


class _Patience:
    """Ends an exchange with ``TimeoutError`` when Redis has been silent for too long.

    Silence counts from the last reply, and only while our own process was awake: after a pause of
    its own (a long computation, SIGSTOP) the replies may be there, unread.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(SOCKET_TIMEOUT_SECONDS)
        self._seconds = seconds
        self._since = self._loop.time()
        self._timer = self._look_at(self._since + seconds)

    def progress(self) -> None:
        self._since = self._loop.time()

    def _look_at(self, when: float) -> asyncio.TimerHandle:
        return self._loop.call_at(when, self._look, when)

    def _look(self, due: float) -> None:
        now = self._loop.time()
        if now - due > PAUSE_SECONDS:
            self._since = now
        if now < self._since + self._seconds:
            self._timer = self._look_at(self._since + self._seconds)
        elif not self._timeout.expired():
            self._timeout.reschedule(now)

    async def __aenter__(self) -> _Patience:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*raised)


class Link:
    """Belongs to the event loop it is made in. ``close`` ends what is under way with RedisAway."""

    def __init__(
        self,
        url: str,
        *,
        on_success: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Raises ``ValueError`` for a URL that is none of Redis. Opens nothing yet."""
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            # ``_Patience`` sees to that, with one timer for all of a batch; redis-py would take
            # one, or a task, for each command and each reply.
            socket_timeout=None,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_keepalive=True,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._on_success = on_success
        self._on_failure = on_failure
        self.allowed: Callable[[], Allowed] = lambda: PROBED
        """What an exchange gets that begins now; its owner knows better than the link."""
        self._idle: list[AbstractConnection] = []
        self._waiting: deque[_Request] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._beginning = 0
        """Batches that have not taken what they are to send yet."""
        self._closed = False

    async def command(self, *arguments: str | bytes | int, may_be_refused: bool = False) -> Reply:
        """Raises ``RedisAway``. Cancelling the caller does not cancel what was sent.

        ``may_be_refused``: that Redis doesn't allow it says nothing about Redis's health.
        """
        return await self._enqueue(_Request(None, arguments, may_be_refused=may_be_refused))

    async def run(
        self, script: Script, keys: tuple[bytes, ...], *arguments: str | bytes | int
    ) -> Reply:
        """Raises ``RedisAway``. Cancelling the caller does not cancel what was sent."""
        return await self.submit(script, keys, *arguments)

    def submit(
        self, script: Script, keys: tuple[bytes, ...], *arguments: str | bytes | int
    ) -> asyncio.Future[Reply]:
        """``run`` for a caller that does not wait. Raises ``RedisAway``; so may the future."""
        return self._enqueue(_Request(script, (len(keys), *keys, *arguments)))

    def fail_waiting(self, error: BaseException) -> None:
        """Fail at once what has not been sent yet."""
        while self._waiting:
            self._waiting.popleft().fail(error)

    async def close(self) -> None:
        self._closed = True
        self.fail_waiting(RedisAway("closing"))
        for batch in list(self._batches):
            batch.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)
        for connection in self._idle:
            await connection.disconnect(nowait=True)

    def _enqueue(self, request: _Request) -> asyncio.Future[Reply]:
        if self._closed or len(self._waiting) >= MAX_WAITING:
            raise RedisAway("closed" if self._closed else "too many requests are waiting")
        self._waiting.append(request)
        self._begin_batches()
        return request.future

    def _begin_batches(self) -> None:
        """As many as what waits is enough for, and not too many. Each takes what it sends when its
        task runs for the first time: what is asked for in this turn of the event loop goes along.
        """
        while (
            len(self._waiting) > self._beginning * MAX_BATCH
            and len(self._batches) < MAX_BATCHES
            and not self._closed
        ):
            self._beginning += 1
            task = asyncio.create_task(self._send_some(), name="redis-batch")
            self._batches.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._begin_batches()

    async def _send_some(self) -> None:
        self._beginning -= 1
        count = min(MAX_BATCH, len(self._waiting))
        if count:  # else it failed meanwhile
            await self._send([self._waiting.popleft() for _ in range(count)])

    async def _send(self, batch: list[_Request]) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._new_connection()
            allowed = self.allowed()
            try:
                async with asyncio.timeout(allowed.connect):
                    await self._pool.ensure_connection(connection)
                async with _Patience(allowed.reply) as patience:
                    refusal = await self._exchange(connection, batch, patience)
            except BaseException:
                # Replies may still be on their way: the next request would read them as its own.
                await connection.disconnect(nowait=True)
                raise
            finally:
                self._idle.append(connection)
        except asyncio.CancelledError as error:
            self._failed(batch, error)
            raise
        except Exception as error:
            if not isinstance(error, LOST):
                log.exception("A request to Redis failed", extra={"action": "redis.link"})
            self._failed(batch, error)  # whatever it was, nobody may wait for ever
        else:
            if refusal is None:
                self._on_success()
            else:
                self._on_failure(refusal)

    def _new_connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _exchange(
        self, connection: AbstractConnection, batch: list[_Request], patience: _Patience
    ) -> exceptions.ResponseError | None:
        """Send and answer them; gives an error that Redis answered, if any."""
        await connection.send_packed_command(b"".join([request.packed() for request in batch]))
        refusal, unknown = await self._answers(connection, batch, patience)
        if unknown:  # a new Redis, or SCRIPT FLUSH; nothing of them has run
            packed = b"".join([request.packed(whole=True) for request in unknown])
            await connection.send_packed_command(packed)
            second, _ = await self._answers(connection, unknown, patience)
            refusal = refusal or second
        return refusal

    async def _answers(
        self, connection: AbstractConnection, batch: list[_Request], patience: _Patience
    ) -> tuple[exceptions.ResponseError | None, list[_Request]]:
        refusal, unknown = None, []
        for request in batch:
            try:
                request.answer(await connection.read_response(disable_decoding=True))
                patience.progress()
            except exceptions.NoScriptError:
                unknown.append(request)
            except exceptions.ResponseError as error:
                # A script that fails on what it finds under one key says nothing of Redis.
                is_its_own = request.may_be_refused or is_of_a_script(error)
                refusal = refusal if is_its_own else error
                request.fail(error)
        return refusal, unknown

    def _failed(self, batch: list[_Request], error: BaseException) -> None:
        self._on_failure(error)
        for request in batch:
            request.fail(error)
