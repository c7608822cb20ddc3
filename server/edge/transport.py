"""Socket.IO over Engine.IO, and what a careful server must mend in it.

Everything here and in ``engine.py`` that touches the internals of python-socketio and
python-engineio is there only, and tests/server/edge/ holds it against the installed versions:

- Calls are dispatched by ``_handle_event``: one owned task a call, one answer a call, whatever the
  event's name; and something can be done right *after* the answer went out (``Reply.then``),
  which a feed needs: the verdict first, then the events. Stock handlers can only return.
- Events are encoded once, down to the websocket's frame, and go straight to each connection's wire,
  or into its queue where something waits there already.
- What is no packet is dropped with a line in the log: the library logs a traceback for each. Binary
  parts are bounded, in number and size; the library keeps what it is sent until the last has come.
  Where they are too large together none is kept, and the call is answered with ``too_large``.
- A client that does not CONNECT in time, or is refused and stays, is ended. For the library its
  answers to pings are enough.
- Whatever becomes of a connect handler, nothing stays of a client that is not connected (since
  5.18.0 the library keeps a pending entry for good where a handler raises, or a client goes before
  its answer).
- ``drop`` and ``close`` end connections as a lost transport would, so that stock clients come back
  by themselves; after ``sio.disconnect()`` they never do. Stock shutdown waits ~40 s.
- Its own log lines, which quote what clients send, are silenced, but for tracebacks.
- Acks that clients send are ignored: nothing here asks for any (the library keeps a callback for a
  client of another server for good).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson
import socketio
from engineio import packet as engineio_packet
from socketio import packet as socketio_packet

from server.edge.engine import EngineServer, Session
from server.edge.websocket import text_frame
from server.identity.origins import allowing
from server.protocol import MAX_PACKET_BYTES, OVERFULL
from server.tasks import Tasks

log = logging.getLogger(__name__)

library_log = logging.getLogger(f"{__name__}.library")
library_log.setLevel(logging.ERROR)
library_log.addFilter(lambda record: record.exc_info is not None)

# Engine.IO's type of a packet that carries one of Socket.IO.
MESSAGE = str(engineio_packet.MESSAGE).encode()

# Binary parts that a packet may announce: as many as a message may have attachments (settings.py).
MAX_BINARY_PARTS = 8

# Of one session. A stock client needs one; each costs looking at a token.
MAX_CONNECTS = 10

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
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            # A header's odd bytes, which Engine.IO repeats in its refusal, are lone surrogates.
            return json.dumps(_mended(value))

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

    data: Any
    attachments: list[bytes]
    _is_overfull = False

    def decode(self, encoded_packet: Any) -> int:
        try:
            attachments: int = super().decode(encoded_packet)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            if self.packet_type != socketio_packet.EVENT or self.id is None:
                raise Malformed(type(error).__name__) from error
            # What can't be read is a call none the less, and is answered as one without a name.
            self.data = None
            attachments = 0
        if self.packet_type not in CLIENT_PACKETS or attachments > MAX_BINARY_PARTS:
            raise Malformed(f"type {self.packet_type!s:.10}, {attachments} attachments")
        return attachments

    def add_attachment(self, attachment: bytes) -> bool:
        """Whether it was the last."""
        if sum(map(len, self.attachments)) + len(attachment) > MAX_PACKET_BYTES:
            self._is_overfull = True
        if self._is_overfull:  # counted on, so that it is answered; kept is none of it
            self.attachments = [b""] * len(self.attachments)
            attachment = b""
        try:
            complete: bool = super().add_attachment(attachment)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise Malformed(type(error).__name__) from error
        if complete and self._is_overfull and isinstance(self.data, list):
            self.data = [*self.data[:1], OVERFULL]
        return complete


class Transport(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO server. ``dispatch`` and ``on_connected`` must be set before it serves.

    ``on_connected(sid)`` is called once a client has its CONNECT answer.
    """

    dispatch: Dispatch
    on_connected: Callable[[str], None]
    eio: EngineServer

    def __init__(
        self,
        *,
        cors_origins: tuple[str, ...],
        calls_under_way: int = 0,
        outbox_bytes: int = 0,
        connect_seconds: float = 0,
    ) -> None:
        """``cors_origins``: whose pages may connect beside our own, ``("*",)`` for any. The others
        are limits of one connection; 0 for none: how many of its calls are worked on at once
        (beyond, it is not read), what may wait for it, and how long it may take to CONNECT."""
        anywhere = "*" in cors_origins
        super().__init__(
            async_mode="aiohttp",
            json=WireJson,
            serializer=ClientPacket,
            logger=library_log,
            engineio_logger=library_log,
            cors_allowed_origins="*" if anywhere else allowing(cors_origins),
            max_http_buffer_size=MAX_PACKET_BYTES,
        )
        self.eio.calls_under_way = calls_under_way
        self.eio.outbox_bytes = outbox_bytes
        self._connect_seconds = connect_seconds
        self._calls = Tasks()

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # What comes in

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        self._await_connect(self.eio.adopt(eio_sid))
        # Kept as long as the session is, so only what a connect handler asks for.
        await super()._handle_eio_connect(eio_sid, {"aiohttp.request": environ["aiohttp.request"]})

    def _await_connect(self, session: Session) -> None:
        """The client has so long to CONNECT, from now."""
        if self._connect_seconds and session.deadline is None:
            session.end_in(self._connect_seconds)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            packet = self._packet(eio_sid, data)
        except Malformed as error:
            log.debug("A packet was dropped.", extra={"action": "malformed", "why": str(error)})
            return
        if packet is None:
            return
        if packet.packet_type == socketio_packet.CONNECT:
            await self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif packet.packet_type == socketio_packet.DISCONNECT:
            await self._handle_disconnect(eio_sid, packet.namespace)
        elif packet.packet_type in (socketio_packet.EVENT, socketio_packet.BINARY_EVENT):
            await self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)

    def _packet(self, eio_sid: str, data: str | bytes) -> ClientPacket | None:
        """The packet that is complete with this. Raises ``Malformed``."""
        begun = self._binary_packet.pop(eio_sid, None)
        if isinstance(data, str):  # binary parts of another will not come any more
            packet = self.packet_class(encoded_packet=data)
            if packet.attachment_count == 0:
                return packet  # type: ignore[no-any-return]
            if self.manager.sid_from_eio_sid(eio_sid, packet.namespace or "/") is None:
                raise Malformed("binary, and not connected")
        elif begun is None:
            raise Malformed("binary without a beginning")
        else:
            packet = begun
            if packet.add_attachment(data):
                return packet  # type: ignore[no-any-return]
        self._binary_packet[eio_sid] = packet
        return None

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None:
            return  # a second CONNECT on the same socket
        session = self.eio.sockets.get(eio_sid)
        if session is None:
            return
        session.connects += 1
        if session.connects > MAX_CONNECTS:
            session.end()
            return
        if namespace not in (None, "/"):
            await super()._handle_connect(eio_sid, namespace, data)  # refused: there is no other
            return
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            sid = self.manager.sid_from_eio_sid(eio_sid, "/")
            if sid is not None:
                connected = self.manager.is_connected(sid, "/")
                if session.closed or not connected:
                    await self.manager.disconnect(sid, "/", ignore_queue=True)
                    sid = None
        if sid is None:
            return
        session.do_not_end()
        self.on_connected(sid)

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        session = self.eio.sockets.get(eio_sid)
        connected = self.manager.sid_from_eio_sid(eio_sid, "/") is not None
        if session is not None and not session.closing and not connected:
            self._await_connect(session)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._binary_packet.pop(eio_sid, None)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: Any, data: Any) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        session = self.eio.sockets.get(eio_sid)
        if sid is None or session is None or not self.manager.is_connected(sid, "/"):
            return
        name, *arguments = data if isinstance(data, list) and data else (None,)
        session.begin_call()
        call = self._call(sid, session, id, name, tuple(arguments))
        # Only text is shown: what is nested deeply can't be.
        task = self._calls.start(call, f"call {name:.40}" if isinstance(name, str) else "call")
        # Also where it is cancelled before it has begun.
        task.add_done_callback(lambda _: session.end_call())

    async def _call(
        self, sid: str, session: Session, id: Any, name: Any, arguments: tuple[Any, ...]
    ) -> None:
        answer = await self.dispatch(sid, name, arguments)
        if id is not None:
            ack = self.packet_class(socketio_packet.ACK, id=id, data=[answer.body], binary=False)
            await self._send_packet(session.sid, ack)
        if answer.then is not None:
            answer.then()

    # What goes out

    def deliver(self, event: str, payload: dict[str, Any], sids: Iterable[str]) -> None:
        """Queue one event for these connections: encoded once, in the order of the calls."""
        text = b"2" + orjson.dumps([event, payload])
        frame = text_frame(MESSAGE + text)
        packet: engineio_packet.Packet | None = None
        for sid in sids:
            session = self._session(sid)
            if session is None or session.closed or session.closing:
                continue
            if session.queue.is_overfull:
                self.eio.cut(session)
            elif not session.write_now(frame):
                if packet is None:
                    packet = engineio_packet.Packet(engineio_packet.MESSAGE, data=text.decode())
                session.queue.put_nowait(packet)

    def waiting(self) -> Iterable[int]:
        """The bytes that wait to be sent, of each connection."""
        return [session.queue.bytes for session in self.eio.sockets.values()]

    @property
    def slow_readers(self) -> int:
        """How many connections were cut off, since the start, because their client did not read."""
        return self.eio.cut_off

    def _session(self, sid: str) -> Session | None:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        return None if eio_sid is None else self.eio.sockets.get(eio_sid)

    # The end

    def is_open(self, sid: str) -> bool:
        """Whether there is still a client behind this connection."""
        session = self._session(sid)
        return session is not None and not session.closed

    def drop(self, sid: str) -> None:
        """End one connection, after what is queued for it, so that a stock client reconnects."""
        session = self._session(sid)
        if session is not None:
            session.end()

    async def close(self, timeout: float = 2.0) -> None:
        """Let calls under way be answered, and end all connections.

        Harmless when repeated. ``timeout`` in seconds, for each of the two.
        """
        await self._calls.settle(timeout)
        for session in list(self.eio.sockets.values()):
            session.end()
        end = asyncio.get_running_loop().time() + timeout
        # engine.io tells nobody when a socket has left its table.
        while self.eio.sockets and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for session in list(self.eio.sockets.values()):
            self.eio.end_now(session, self.reason.SERVER_DISCONNECT)
        await self._calls.close()
        await self.eio.tasks.settle(timeout)
        await self.eio.tasks.close()
