"""How a call puts its connection on a conversation's feed, and takes it back when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from server.edge.connections import Connection
from server.feed.following import Opening


@asynccontextmanager
async def joining(connection: Connection, conversation_id: str) -> AsyncIterator[None]:
    """In the order of its calls, and with a place among the conversations that it may follow."""
    async with connection.order.holding(conversation_id):
        with connection.joining(conversation_id):
            yield


@contextmanager
def withdrawn_on_failure(opening: Opening | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if opening is not None:
            opening.withdraw()
        raise
