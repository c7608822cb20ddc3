"""The driver's websocket, and what must be mended in it.

- permessage-deflate is off: it costs 90 kB a connection and CPU for every event.
- The closing handshake is short; an opening one that fails leaves no session, and no traceback (a
  key that is no base64 is one to aiohttp).
- What is no Engine.IO ends it; the library logs a traceback, and goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from engineio.async_drivers import aiohttp as aiohttp_driver

# A client that does not answer the closing handshake is given up after this many seconds.
CLOSE_TIMEOUT = 1.0

PACKETS = tuple("0123456")


def text_frame(text: bytes) -> bytes:
    """A whole text message from a server, as it is on the wire (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 65_536:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), text)


class PlainWebSocket(aiohttp_driver.WebSocket):  # type: ignore[misc]
    """What python-engineio's driver for aiohttp makes of a request that becomes a websocket."""

    wire: asyncio.WriteTransport | None
    """Its TCP connection."""

    async def wait(self) -> str | bytes:
        """The next message. Raises ``OSError`` when there is none, or it is not Engine.IO."""
        message: str | bytes = await super().wait()
        if isinstance(message, str) and message[:1] not in PACKETS:
            raise OSError("not an Engine.IO packet")
        return message

    async def __call__(self, environ: dict[str, Any]) -> web.StreamResponse:
        request: web.Request = environ["aiohttp.request"]
        self._sock = web.WebSocketResponse(
            max_msg_size=self.server.max_http_buffer_size, compress=False, timeout=CLOSE_TIMEOUT
        )
        try:
            await self._sock.prepare(request)
        except (ConnectionError, ValueError, web.HTTPException) as error:
            # It left, and nobody reads this; or it sent no proper handshake.
            session = self.handler.__self__
            if not session.connected:
                await session.close(reason=self.server.reason.TRANSPORT_ERROR)
            if isinstance(error, web.HTTPException):
                raise
            return web.Response(status=400)
        # None where it has left since: it is found out on reading.
        self.wire = cast("asyncio.WriteTransport | None", request.transport)
        await self.handler(self)
        return self._sock
