"""Socket.IO over aiohttp, and what a careful server must mend in it.

Everything here that touches the internals of python-socketio or python-engineio is here only, and
tests/server/test_transport.py holds it against the installed versions:

- Calls are dispatched by ``_handle_event``: one owned task a call, one answer a call, whatever the
  event's name; and something can be done right *after* the answer went out (``Reply.then``),
  which a feed needs: the verdict first, then the events. Stock handlers can only return.
- Events are encoded once and put straight into each connection's queue.
- A connection's queue is bounded (``outbox.py``): who does not read is cut off, and comes back.
- What is no packet is dropped with a line in the log: the library logs a traceback for each, and
  forgets to close a connection that does not even speak Engine.IO.
- permessage-deflate is off: it costs 90 kB a connection and CPU for every event.
- ``drop`` and ``close`` end connections as a lost transport would, so that stock clients come back
  by themselves; after ``sio.disconnect()`` they never do. Stock shutdown waits ~40 s.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import engineio
import orjson
import socketio
from aiohttp import web
from engineio import packet as engineio_packet
from engineio.async_drivers import aiohttp as engineio_aiohttp
from socketio import packet as socketio_packet

from server.edge.outbox import Outbox
from server.protocol import MAX_PACKET_BYTES
from server.tasks import Tasks

log = logging.getLogger(__name__)

# A client that does not answer the closing handshake is given up after this many seconds.
CLOSE_TIMEOUT = 1.0

# Binary parts that a packet may announce. No call has any; the library keeps what it is sent until
# the last has come, and would wait for a billion.
MAX_ATTACHMENTS = 8

ENGINE_PACKETS = tuple("0123456")
CLIENT_PACKETS = (
    socketio_packet.CONNECT,
    socketio_packet.DISCONNECT,
    socketio_packet.EVENT,
    socketio_packet.ACK,
    socketio_packet.BINARY_EVENT,
    socketio_packet.BINARY_ACK,
)


class Reply:
    """What a call is answered with, and what happens once the answer is on its way."""

    __slots__ = ("body", "then")

    def __init__(self, body: dict[str, Any], then: Callable[[], None] | None = None) -> None:
        self.body = body
        self.then = then


Dispatch = Callable[[str, Any, tuple[Any, ...]], Awaitable[Reply]]


def _mended(value: Any) -> Any:
    """Lone surrogates become U+FFFD: no store and no encoder takes them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


class WireJson:
    """JSON for python-socketio: orjson, and the standard library for what orjson refuses."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            # Lone surrogates and integers over 64 bits are JSON too, and deserve an answer.
            try:
                return _mended(json.loads(text))
            except RecursionError:
                raise ValueError("nested too deep") from None


class Malformed(ValueError):
    """What was sent is no packet that a client may send."""


class ClientPacket(socketio_packet.Packet):  # type: ignore[misc]
    """A packet that fails as ``Malformed``, whatever is wrong with it."""

    def decode(self, encoded_packet: Any) -> int:
        try:
            attachments: int = super().decode(encoded_packet)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise Malformed(type(error).__name__) from error
        if self.packet_type not in CLIENT_PACKETS or attachments > MAX_ATTACHMENTS:
            raise Malformed(f"type {self.packet_type!s:.10}, {attachments} attachments")
        return attachments


class PlainWebSocket(engineio_aiohttp.WebSocket):  # type: ignore[misc]
    """The driver's websocket, without compression and with a short closing handshake."""

    async def wait(self) -> str | bytes:
        """The next message. Raises ``OSError`` when there is none, or it is not Engine.IO."""
        message: str | bytes = await super().wait()
        if isinstance(message, str) and message[:1] not in ENGINE_PACKETS:
            raise OSError("not an Engine.IO packet")
        return message

    async def __call__(self, environ: dict[str, Any]) -> web.StreamResponse:
        self._sock = web.WebSocketResponse(
            max_msg_size=self.server.max_http_buffer_size, compress=False, timeout=CLOSE_TIMEOUT
        )
        try:
            await self._sock.prepare(environ["aiohttp.request"])
        except ConnectionError:
            return web.Response()  # the client left during its handshake: nobody reads this
        self.environ = environ
        # What a slow reader is cut off by. The connection in the session's own environ is that of
        # its handshake: another one, and gone by now, where the client began with polling.
        self.handler.__self__.wire = environ["aiohttp.request"].transport
        await self.handler(self)
        return self._sock


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """engine.io with a queue that knows its size."""

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        return Outbox()


class Transport(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO server. ``dispatch`` and ``on_connected`` must be set before it serves.

    ``on_connected(sid)`` is called once a client has its CONNECT answer.
    """

    dispatch: Dispatch
    on_connected: Callable[[str], None]

    def __init__(self, *, cors_origins: tuple[str, ...]) -> None:
        """``cors_origins``: none for the same origin only, ``("*",)`` for any."""
        anywhere = cors_origins == ("*",)
        super().__init__(
            async_mode="aiohttp",
            json=WireJson,
            serializer=ClientPacket,
            cors_allowed_origins="*" if anywhere else list(cors_origins) or None,
            max_http_buffer_size=MAX_PACKET_BYTES,
        )
        self.eio._async = {**self.eio._async, "websocket": PlainWebSocket}
        self._calls = Tasks()

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if isinstance(data, str):
            self._binary_packet.pop(eio_sid, None)  # its binary parts will not come any more
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Malformed as error:
            self._binary_packet.pop(eio_sid, None)
            log.debug("A packet was dropped.", extra={"action": "malformed", "why": str(error)})

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None:
            return  # a second CONNECT on the same socket
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is not None and self.manager.is_connected(sid, "/"):
            self.on_connected(sid)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: Any, data: Any) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is None or not self.manager.is_connected(sid, namespace or "/"):
            return
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and socket.queue.is_overfull:  # it asks and asks, and reads nothing
            self._cut(socket)
            return
        name, *arguments = data if isinstance(data, list) and data else (None,)
        call = self._call(sid, eio_sid, id, name, tuple(arguments))
        # Only text is shown: what is nested deeply can't be.
        self._calls.start(call, f"call {name:.40}" if isinstance(name, str) else "call")

    async def _call(
        self, sid: str, eio_sid: str, id: Any, name: Any, arguments: tuple[Any, ...]
    ) -> None:
        answer = await self.dispatch(sid, name, arguments)
        if id is not None:
            await self._send_packet(
                eio_sid,
                self.packet_class(socketio_packet.ACK, id=id, data=[answer.body], binary=False),
            )
        if answer.then is not None:
            answer.then()

    def deliver(self, event: str, payload: dict[str, Any], sids: Iterable[str]) -> None:
        """Queue one event for these connections: encoded once, in the order of the calls."""
        text = "2" + orjson.dumps([event, payload]).decode()
        packet = engineio_packet.Packet(engineio_packet.MESSAGE, data=text)
        for sid in sids:
            socket = self._socket(sid)
            if socket is None or socket.closed:
                continue
            if socket.queue.is_overfull:
                self._cut(socket)
            else:
                socket.queue.put_nowait(packet)

    def _cut(self, socket: Any) -> None:
        """End a connection whose client does not read: at once, and without a goodbye."""
        log.warning("A client that does not read was cut off.", extra={"action": "slow_reader"})
        socket.queue.clear()
        wire = getattr(socket, "wire", None)  # none yet where it is polling still
        if wire is not None:
            wire.abort()
        closing = socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)
        self._calls.start(closing, "cut")

    def _socket(self, sid: str) -> Any:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        return None if eio_sid is None else self.eio.sockets.get(eio_sid)

    def is_open(self, sid: str) -> bool:
        """Whether there is still a client behind this connection."""
        socket = self._socket(sid)
        return socket is not None and not socket.closed

    def drop(self, sid: str) -> None:
        """End one connection, after what is queued for it, so that a stock client reconnects."""
        socket = self._socket(sid)
        if socket is not None:
            socket.queue.put_nowait(None)

    async def close(self, timeout: float = 2.0) -> None:
        """Let calls under way be answered, end all connections, and stop the service tasks.

        Harmless when repeated. ``timeout`` in seconds, for each of the first two.
        """
        await self._calls.settle(timeout)
        for socket in list(self.eio.sockets.values()):
            socket.queue.put_nowait(None)
        end = asyncio.get_running_loop().time() + timeout
        # engine.io tells nobody when a socket has left its table.
        while self.eio.sockets and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self._calls.close()
        if self.eio.service_task_handle is not None:  # the library's shutdown fails without it
            await self.shutdown()
