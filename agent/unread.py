"""A response that is left unread for a moment, down to its socket.

What a provider streams comes in as many pieces as it has tokens, and each piece wakes the event
loop, aiohttp and its parser. Between two frames of an answer nobody wants them: left in the socket,
all of them are one piece. The socket's buffer is bounded, and with it what the other end may send.

How aiohttp's response is found below the SDK's is nobody's public interface. Where it is not found
the pieces come one by one, as they would; ``tests/agent/test_unread.py`` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientResponse


@contextmanager
def left_unread(response: Any) -> Iterator[None]:
    """``response`` is httpx2's. Harmless where all of it has come, or its connection is lost."""
    transport = _transport(response)
    # One that aiohttp has stopped reading goes on when aiohttp says so.
    if transport is None or transport.is_closing() or not transport.is_reading():
        yield
        return
    transport.pause_reading()
    try:
        yield
    finally:
        if not transport.is_closing():
            transport.resume_reading()


def _transport(response: Any) -> Any:
    """The connection that the response still comes on: an ``asyncio.Transport``, or uvloop's. None
    where it has come, or another client than aiohttp reads it."""
    # Below httpx2's stream, which takes the time, is the SDK's, which is around aiohttp's response.
    sdks = getattr(response.stream, "_stream", None)
    below = getattr(sdks, "_aiohttp_response", None)
    if not isinstance(below, ClientResponse) or below.connection is None:
        return None
    return below.connection.transport
