"""Time limits for what comes before, and beside, a websocket: aiohttp has none that end it.

A connection must send the head of its first request in time, and take each response in time; what
is sent to it and not acknowledged ends it. Without these, headers that never end, responses that
nobody reads and peers that are gone without a word each keep a connection for good. (The body of a
POST has its limit in ``engine.py``, later heads have aiohttp's keep-alive.)
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

log = logging.getLogger(__name__)
# aiohttp logs a traceback for what is no HTTP; those are for mistakes of ours.
log.addFilter(lambda record: not isinstance((record.exc_info or (0, 0))[1], HttpProcessingError))

# Longer than what proxies keep an idle connection for (nginx and most others: 60 s). Were it
# shorter, one could send a request into the moment it ends.
KEEPALIVE_SECONDS = 75.0

# A polling client is silent for less between two pings, and the page's files are small.
RESPONSE_SECONDS = 60.0

# TCP's own default is about 15 minutes, and for a peer that acknowledges and reads nothing, never.
UNACKNOWLEDGED_SECONDS = 60.0


class Handshakes:
    """``seconds`` for the head of a connection's first request; 0 for any time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expected: dict[Any, asyncio.TimerHandle] = {}

    def accept(self, protocol: web.RequestHandler) -> web.RequestHandler:
        """A connection has come."""
        if self._seconds:
            self._expected[protocol] = asyncio.get_running_loop().call_later(
                self._seconds, self._too_late, protocol
            )
        return protocol

    def _too_late(self, protocol: web.RequestHandler) -> None:
        del self._expected[protocol]
        protocol.force_close()

    @web.middleware
    async def limit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost middleware."""
        timer = self._expected.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        _give_up_after(request.transport, UNACKNOWLEDGED_SECONDS)
        response = await handler(request)
        # Files are small, and have been written when a websocket's response comes back.
        if isinstance(response, web.Response):
            try:
                async with asyncio.timeout(RESPONSE_SECONDS):
                    # aiohttp does the same afterwards, without a limit, if it is not done.
                    await response.prepare(request)
                    await response.write_eof()
            except (TimeoutError, ConnectionError):  # or it has left
                if request.transport is not None:
                    request.transport.abort()
        return response


class Runner(web.AppRunner):
    """aiohttp's runner; its sites ask it for what makes a protocol of each new connection."""

    def __init__(self, app: web.Application, handshakes: Handshakes, **options: Any) -> None:
        super().__init__(
            app,
            keepalive_timeout=KEEPALIVE_SECONDS,
            # No client of ours compresses what it sends; what unpacks to more need not be unpacked.
            auto_decompress=False,
            logger=log,
            **options,
        )
        self._handshakes = handshakes

    @property
    def server(self) -> Callable[[], web.RequestHandler] | None:  # type: ignore[override]
        server = super().server
        return server and (lambda: self._handshakes.accept(server()))


def _give_up_after(transport: asyncio.Transport | None, seconds: float) -> None:
    """End a connection once what was sent has not been acknowledged for so long. Linux has it."""
    end = transport and transport.get_extra_info("socket")
    if end and hasattr(socket, "TCP_USER_TIMEOUT"):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
