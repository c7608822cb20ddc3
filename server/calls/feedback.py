"""The call about what a user thinks of an answer."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from memory.records import Feedback, answer_of
from server import protocol, shapes
from server.calls.dispatch import Handler
from server.clock import now_ms
from server.edge.connections import Connection, Connections
from server.edge.transport import Reply
from server.errors import Missing
from stores.contract import ConversationStore, TurnStore


class ForgettingMemory(Protocol):
    async def forget(self, conversation_id: str) -> None: ...


class FeedbackCalls:
    def __init__(
        self,
        *,
        connections: Connections,
        conversations: ConversationStore,
        turns: TurnStore,
        memory: ForgettingMemory,
    ) -> None:
        self._connections = connections
        self._conversations = conversations
        self._turns = turns
        self._memory = memory
        # Named from the start: of what appears with its first case no rate shows that case.
        self.given: Counter[str] = Counter({"1": 0, "0": 0, "-1": 0})
        """By its value; 0 took it away."""

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"message:feedback": self.give}

    async def give(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.GiveFeedback, arguments)
        feedback = None
        if call.value != 0:
            feedback = Feedback(value=call.value, comment=call.comment or None, at=now_ms())
        async with connection.order.holding(call.conversation_id):
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            turn = await self._turns.set_feedback(conversation.id, call.message_id, feedback)
            message = answer_of(turn) if turn is not None else None
            if message is None:
                raise Missing("There is no such answer.", field="message_id")
            # The store first: whoever loads it from here on has it with this.
            await self._memory.forget(conversation.id)
        self.given[str(call.value)] += 1
        told = {
            "conversation_id": conversation.id,
            "message_id": message.id,
            "feedback": None if feedback is None else shapes.feedback_shape(feedback),
        }
        self._connections.tell_everywhere(connection.user_id, "message:feedback", told)
        return Reply({"message": shapes.message_shape(conversation.id, message)})
