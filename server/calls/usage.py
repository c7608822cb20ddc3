"""The call about what a user's conversations have used."""

from __future__ import annotations

from typing import Any

from server import protocol, shapes
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.turns.budgets import Budgets, today
from stores.contract import ConversationStore
from stores.usage import NOTHING, UsageStore


class UsageCalls:
    def __init__(
        self, *, conversations: ConversationStore, usage: UsageStore, budgets: Budgets
    ) -> None:
        self._conversations = conversations
        self._usage = usage
        self._budgets = budgets

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"user:usage": self.tell}

    async def tell(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.UserUsage, arguments)
        since = today() - call.days + 1
        if call.conversation_id is None:
            days = await self._usage.of_user(connection.user_id, since)
        else:
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            days = await self._usage.of_conversation(conversation.id, since)
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
