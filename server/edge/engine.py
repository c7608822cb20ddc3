"""One client's Engine.IO session, by polling or over a websocket: what must be mended in its life.

python-engineio's own class reads and writes without a bound, waits without a limit, and leaves TCP
connections open behind it. Nothing of that can be set, so here is a class of our own in its place,
held against the installed version by tests/server/edge/test_engine.py:

- **Reading waits** while as many of a client's calls as it may have are being worked on, and a ping
  does not count as unanswered while nobody reads (upstream ends a session whose connect handler is
  slow, and then keeps what that handler had begun).
- **A client that reads nothing** is cut off when its outbox is full, whatever filled it: also
  answers to what is no call at all.
- **What is taken from the outbox** to be written is a bounded lot: upstream takes all of it, and
  counts it no more.
- **A POST** is read to its end, in a limited time, and each of its packets is taken. Upstream drops
  all of them with a 200 where there are more than 16 (python-engineio #142), where the body comes
  in several pieces or in chunks, and where one is malformed. What is no Engine.IO is refused with a
  400 (upstream waits for somebody to poll before it says so, python-engineio #60).
- **An upgrade** that is begun and not finished ends by itself, and polling goes on. Upstream waits
  for ever, and answers each poll at once with nothing (hundreds of requests a second).
- **A ping that is not answered** ends the session and its TCP connection in that moment, by a timer
  of its own. Upstream's monitor looks at each session every 20 s, and leaves the TCP connection to
  another time-out, or for ever where a write is stuck in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import engineio
from aiohttp import web
from engineio import async_socket, exceptions, packet

from server.edge.outbox import Outbox, size
from server.edge.websocket import CLOSE_TIMEOUT, PlainWebSocket
from server.tasks import Tasks

log = logging.getLogger(__name__)

# A client may take this long to hear that it is to go elsewhere.
END_SECONDS = 5.0

# What is written in one go: enough for a frame's worth of events, and little beside an outbox.
LOT_BYTES = 64_000

PING = packet.Packet(packet.PING)
FROM_CLIENTS = (packet.CLOSE, packet.PONG, packet.MESSAGE, packet.UPGRADE)


class Refused(exceptions.EngineIOError):  # type: ignore[misc]
    """A request that is no Engine.IO, or takes too long: answered with 400, and the session ends.

    The library's own base class is what it answers so.
    """


class Session(async_socket.AsyncSocket):  # type: ignore[misc]
    """The library makes its sockets itself; ``EngineServer`` makes them these afterwards."""

    server: EngineServer
    queue: Outbox
    last_ping: float | None
    connected: bool
    upgrading: bool

    wire: asyncio.WriteTransport | None = None
    """The TCP connection of its websocket, once it has one. That of its handshake is another one,
    and gone by now, where it began with polling."""

    calls = 0
    """How many of its calls are being worked on."""

    connects = 0
    """How often it has said CONNECT."""

    deadline: asyncio.TimerHandle | None = None
    """Ends it, whatever the client does."""

    _writer_waits = False
    """Whether its websocket's writer waits for something to write."""

    _ping: asyncio.TimerHandle | None = None
    _room: asyncio.Future[None] | None = None
    _busy = 0  # how many of its readers are not reading just now

    # Its calls

    def begin_call(self) -> None:
        self.calls += 1

    def end_call(self) -> None:
        self.calls -= 1
        if self._room is not None and not self._is_full():
            self._room.set_result(None)
            self._room = None

    def _is_full(self) -> bool:
        return 0 < self.server.calls_under_way <= self.calls

    async def _take(self, what: packet.Packet) -> None:
        """Work on one packet, once there is room for it. Raises ``OSError`` at a full outbox."""
        if self.queue.is_overfull:  # it asks and asks, and reads nothing
            self.server.cut(self)
            raise OSError("does not read")
        self._busy += 1
        try:
            while self._is_full() and not self.closed:
                if self._room is None:
                    self._room = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._room)
            if not self.closed:
                await self.receive(what)
        finally:
            self._busy -= 1
        # Others have their turn, however much of this client's is here already.
        await asyncio.sleep(0)

    # Pings

    def schedule_ping(self) -> None:
        if self.last_ping:  # only the answer to a ping has the next one follow
            self.last_ping = None
            self._in(self.server.ping_interval, self._ask)

    def _ask(self) -> None:
        self.last_ping = time.time()
        self.queue.put_nowait(PING)
        self._in(self.server.ping_timeout, self._not_answered)

    def _not_answered(self) -> None:
        if self._busy:  # the answer may be the next that is read
            self._in(self.server.ping_timeout, self._not_answered)
        else:
            self.server.end_now(self, self.server.reason.PING_TIMEOUT)

    def _in(self, seconds: float, then: Callable[[], None]) -> None:
        if self._ping is not None:
            self._ping.cancel()
        self._ping = asyncio.get_running_loop().call_later(seconds, then)

    async def check_ping_timeout(self) -> bool:
        """The library asks before it sends; a timer sees to the pings."""
        if self.closed:
            raise exceptions.SocketIsClosedError()
        return True

    # Polling

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        try:
            body = await self._read(environ["aiohttp.request"])
            for what in _packets(body):
                if self.closed:
                    break
                await self._take(what)
        except (OSError, ValueError, exceptions.EngineIOError) as error:
            # Where it has ended meanwhile nobody is left to end, which the library can't bear.
            if not self.closed and self.sid in self.server.sockets:
                raise Refused(type(error).__name__) from error

    async def _read(self, request: web.Request) -> str:
        """Raises ``OSError`` (a time-out is one) and ``ValueError``."""
        body = bytearray()
        # Who takes longer does not answer pings in time either: its answers are POSTs as well.
        async with asyncio.timeout(self.server.ping_timeout):
            try:
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > self.server.max_http_buffer_size:
                        raise ValueError("too large")
            except web.RequestPayloadError as error:
                raise OSError("it left") from error
        return body.decode()

    async def poll(self) -> list[packet.Packet]:
        """What a poll is answered with."""
        try:
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                return await self._lot()
        except TimeoutError:
            raise exceptions.QueueEmpty() from None

    async def _lot(self) -> list[packet.Packet]:
        """The next packets to send; none at the end, which everybody hears who waits or comes: two
        polls, or a poll and the writer of the websocket that an upgrade has brought."""
        packets = [await self.queue.get()]
        lot = size(packets[0])
        while packets[-1] is not None and lot < LOT_BYTES and not self.queue.empty():
            packets.append(self.queue.get_nowait())
            lot += size(packets[-1])
        if packets[-1] is None:
            packets.pop()
            self.queue.put_nowait(None)
        return packets

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        answer = await super().handle_get_request(environ)
        if isinstance(answer, list) and not self.connected:
            # It named a websocket, and asked for none: upstream returns packets as the response.
            await self.close(reason=self.server.reason.TRANSPORT_ERROR)
            return self.server._bad_request("Invalid websocket upgrade")
        if isinstance(answer, list) and any(each.packet_type == packet.CLOSE for each in answer):
            await self.close(reason=self.server.reason.TRANSPORT_CLOSE)
        return answer

    # Websocket

    async def _websocket_handler(self, ws: PlainWebSocket) -> None:
        if self.connected and not await self._upgraded_to(ws):
            return
        self.connected = self.upgraded = True
        self.wire = ws.wire
        writing = self.server.tasks.start(self._write(ws), "websocket writer")
        try:
            while not self.closed:
                what = packet.Packet(encoded_packet=await ws.wait())
                if what.packet_type in FROM_CLIENTS:
                    await self._take(what)
        except (OSError, ValueError, exceptions.EngineIOError):
            pass  # it left, or says what is no Engine.IO
        finally:
            await self.close(reason=self.server.reason.TRANSPORT_CLOSE)
            # The closing handshake has its own limit; only what can't be written takes longer.
            await asyncio.wait([writing], timeout=2 * CLOSE_TIMEOUT)
            if ws.wire is not None:
                ws.wire.abort()
            writing.cancel()
            await asyncio.wait([writing])

    async def _upgraded_to(self, ws: PlainWebSocket) -> bool:
        if self.upgrading or self.upgraded:
            return False
        self.upgrading = True  # polls are answered with nothing
        try:
            async with asyncio.timeout(self.server.ping_timeout):
                if await ws.wait() == "2probe":
                    await ws.send("3probe")
                    self.queue.put_nowait(packet.Packet(packet.NOOP))  # ends the poll there is
                    self.upgraded = await ws.wait() == "5" and not self.closed
        except OSError:
            pass
        finally:
            self.upgrading = False
        return self.upgraded

    async def _write(self, ws: PlainWebSocket) -> None:
        with suppress(OSError):
            self._writer_waits = True
            while packets := await self._lot():
                self._writer_waits = False
                for each in packets:
                    await ws.send(each.encode())
                self._writer_waits = True
        self._writer_waits = False
        await ws.close()

    def write_now(self, frame: bytes) -> bool:
        """Put a frame on the wire past the queue, where nothing is before it there and the client
        reads; False where it has to be queued. Most events go so, and wake no writer."""
        if not self._writer_waits or not self.queue.empty() or self.wire is None:
            return False
        if self.wire.is_closing() or self.wire.get_write_buffer_size() >= LOT_BYTES:
            return False
        self.wire.write(frame)
        return True

    # Its end

    def end(self) -> None:
        """After what is queued for it, in a way that stock clients come back from."""
        if not self.upgraded:
            self.queue.put_nowait(packet.Packet(packet.CLOSE))
        self.queue.put_nowait(None)
        self.end_in(END_SECONDS)  # whether it takes that or not

    def end_in(self, seconds: float) -> None:
        self.do_not_end()
        self.deadline = asyncio.get_running_loop().call_later(
            seconds, self.server.end_now, self, self.server.reason.TRANSPORT_ERROR
        )

    def do_not_end(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def abort(self) -> None:
        """Its TCP connection at once, without a goodbye; ``close`` is still to be called."""
        self.queue.clear()
        if self.wire is not None:
            self.wire.abort()

    async def close(
        self, wait: bool = True, abort: bool = False, reason: str | None = None
    ) -> None:
        """Tell who is to know, and let go of it. ``wait`` and ``abort`` are the library's: nothing
        is waited for, and there is nobody to write to."""
        if self.closed or self.closing:
            return
        self.do_not_end()
        if self._ping is not None:
            self._ping.cancel()
        await super().close(wait=False, abort=True, reason=reason)
        self.queue.clear()
        self.queue.put_nowait(None)
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        self.server.sockets.pop(self.sid, None)


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO with sessions of ours. 0 switches a limit off."""

    _async: dict[str, Any]

    calls_under_way = 0
    outbox_bytes = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(monitor_clients=False, **options)
        self._async = {**self._async, "websocket": PlainWebSocket}
        self.tasks = Tasks()
        self.cut_off = 0

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        return Outbox(self.outbox_bytes)

    def adopt(self, sid: str) -> Session:
        """Make a new socket one of ours, before anything has happened to it."""
        session = cast("Session", self.sockets[sid])
        session.__class__ = Session
        return session

    def cut(self, session: Session) -> None:
        """End a connection whose client does not read: at once, and without a goodbye."""
        log.warning("A client that does not read was cut off.", extra={"action": "slow_reader"})
        self.cut_off += 1
        self.end_now(session, self.reason.TRANSPORT_ERROR)

    def end_now(self, session: Session, reason: str) -> None:
        """The session and its TCP connection, in this moment."""
        session.abort()
        self.tasks.start(session.close(reason=reason), "end of a session")

    async def disconnect(self, sid: str | None = None) -> None:
        """The library's own call for a session that was refused. It would wait for what is queued
        to be polled, by who may never poll."""
        session = self.sockets.get(sid)
        if session is not None:
            await session.close(reason=self.reason.TRANSPORT_ERROR)


def _packets(body: str) -> Iterator[packet.Packet]:
    """Those of a POST, one by one: there may be very many. Raises ``ValueError``."""
    start = 0
    while start <= len(body):
        end = body.find("\x1e", start)
        end = len(body) if end < 0 else end
        one = packet.Packet(encoded_packet=body[start:end])
        if one.packet_type not in FROM_CLIENTS:
            raise ValueError("not from a client")
        yield one
        start = end + 1
