"""The call that searches what was said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from agent.finding import Finder
from memory.excerpts import excerpt
from memory.records import Hit
from server import protocol, shapes
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from stores.contract import ConversationStore

SNIPPET_CHARS = 200

# Of the messages in one answer together. A message may be as long as a packet, and stock clients
# hang up on a frame of some megabytes.
MOST_CHARS = 500_000


class SearchCalls:
    def __init__(self, *, conversations: ConversationStore, finder: Finder) -> None:
        self._conversations = conversations
        self._finder = finder

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"conversation:search": self.search}

    async def search(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.SearchMessages, arguments)
        if call.conversation_id is not None:
            await self._conversations.get(call.conversation_id, connection.user_id)
        hits = await self._finder.find(
            connection.user_id, call.query, conversation_id=call.conversation_id, limit=call.limit
        )
        return Reply({"results": [_shape(hit) for hit in _those_that_fit(hits)]})


def _those_that_fit(hits: Sequence[Hit]) -> list[Hit]:
    """The first ones, one at least."""
    sizes = accumulate(len(hit.message.content) for hit in hits)
    return [
        hit
        for i, (hit, size) in enumerate(zip(hits, sizes, strict=True))
        if not i or size <= MOST_CHARS
    ]


def _shape(hit: Hit) -> dict[str, Any]:
    text = hit.message.content if isinstance(hit.message.content, str) else ""
    return {
        "conversation": shapes.conversation_shape(hit.conversation),
        "message": shapes.message_shape(hit.conversation.id, hit.message),
        "snippet": excerpt(text, hit.at, SNIPPET_CHARS),
    }
