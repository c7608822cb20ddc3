"""The calls that show how an answer came about."""

from __future__ import annotations

from typing import Any

from server import protocol
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.errors import Missing
from stores.contract import ConversationStore, TurnStore


class InspectingCalls:
    def __init__(self, *, conversations: ConversationStore, turns: TurnStore) -> None:
        self._conversations = conversations
        self._turns = turns

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"turn:context": self.context}

    async def context(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.TurnContext, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        context = await self._turns.context(conversation.id, call.turn_id)
        if context is None and await self._turns.get(conversation.id, call.turn_id) is None:
            raise Missing("There is no such turn.", field="turn_id")
        return Reply({"context": context})
