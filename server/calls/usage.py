"""The call about what a user's conversations have used."""

from __future__ import annotations

from typing import Any

from memory.locks import KeyedLocks
from server import protocol, shapes
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.turns.budgets import Budgets, today
from stores.contract import ConversationStore
from stores.usage import NOTHING, Days, UsageStore


class UsageCalls:
    def __init__(
        self, *, conversations: ConversationStore, usage: UsageStore, budgets: Budgets
    ) -> None:
        self._conversations = conversations
        self._usage = usage
        self._budgets = budgets
        self._reading = KeyedLocks()

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"user:usage": self.tell}

    async def tell(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.UserUsage, arguments)
        since = today() - call.days + 1
        # It reads every turn of these days: one such call a user at a time.
        async with self._reading.holding(connection.user_id):
            days = await self._days(connection.user_id, call.conversation_id, since)
        budget = await self._budgets.of_user(connection.user_id)
        return Reply(
            {
                "usage": shapes.usage_shape(sum(days.values(), NOTHING)),
                "days": [
                    {"day": shapes.day_text(day), **shapes.usage_shape(days[day])}
                    for day in sorted(days)
                ],
                "budget": budget and shapes.budget_shape(budget),
            }
        )

    async def _days(self, user_id: str, conversation_id: str | None, since: int) -> Days:
        if conversation_id is None:
            return await self._usage.of_user(user_id, since)
        conversation = await self._conversations.get(conversation_id, user_id)
        return await self._usage.of_conversation(conversation.id, since)
