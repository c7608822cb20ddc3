"""PyMongo's connections, whose replies are waited for directly.

PyMongo makes a task for each message that it sends, and two for each reply: one reads, and one
looks now and then whether the reading was called off. Each hands over to the next in another turn
of the event loop, a dozen of them an operation, and where the loop is busy a turn is what an
operation costs: 12 with PyMongo alone, 5 so (docs/performance.md). What is bounded by a short
time-out, as all that a user waits for is, needs nobody to call it off.

``pymongo.asynchronous.pool`` is not PyMongo's public interface, the pool's class an argument of the
client meant for this. So a new minor version is tried first (requirements.txt), by the contract
suite of the stores and ``tests/stores/test_direct.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo.asynchronous.pool import AsyncConnection
from pymongo.errors import ProtocolError
from pymongo.message import _UNPACK_REPLY

# What may take longer (an index that is built) is waited for as PyMongo does, which calls it off
# where the driver's own look finds that the server does not answer.
SHORT_SECONDS = 10.0


class DirectConnection(AsyncConnection):
    """Does and raises what its parent does."""

    async def send_message(self, message: bytes, max_doc_size: int) -> None:
        if max_doc_size > (self.max_bson_size or 0):
            await super().send_message(message, max_doc_size)  # which refuses it
            return
        try:
            await self.conn.get_conn.write(message)  # into the transport's buffer: never waits
        except BaseException as error:
            await self._raise_connection_failure(error)
            raise

    async def receive_message(self, request_id: int | None) -> Any:
        seconds = self.conn.gettimeout  # what is left of the operation's time when it was sent
        if seconds is None or seconds > SHORT_SECONDS:
            return await super().receive_message(request_id)
        try:
            async with asyncio.timeout(seconds):
                data, kind = await self.conn.get_conn.read(request_id, self.max_message_size)
            unpack = _UNPACK_REPLY.get(kind)
            if unpack is None:
                raise ProtocolError(f"MongoDB sent a message of the unknown kind {kind}.")
            return unpack(data)
        except BaseException as error:
            # Closes it: what comes yet would be taken for the next reply.
            await self._raise_connection_failure(error)
            raise
