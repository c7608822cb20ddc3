"""The calls that take a conversation out as a document, and in again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from server import protocol, shapes
from server.calls.conversations import told
from server.calls.dispatch import Handler
from server.clock import now_ms
from server.edge.connections import Connection, Connections
from server.edge.transport import Reply
from server.transfer.document import parse_part
from server.transfer.exporting import Exporting
from server.transfer.importing import Importing
from stores.contract import ConversationStore


class TransferCalls:
    def __init__(
        self,
        *,
        connections: Connections,
        conversations: ConversationStore,
        exporting: Exporting,
        importing: Importing,
        pay: Callable[[str], Awaitable[None]],
        max_message_chars: int,
    ) -> None:
        """``pay`` takes what a call that writes a packet full of messages costs its user."""
        self._connections = connections
        self._conversations = conversations
        self._exporting = exporting
        self._importing = importing
        self._pay = pay
        self._max_message_chars = max_message_chars

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"conversation:export": self.export, "conversation:import": self.take}

    async def export(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ExportConversation, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        piece = await self._exporting.piece(conversation, call.format, call.after)
        return Reply(
            {
                "content": piece.content,
                "media_type": piece.media_type,
                "file_name": piece.file_name,
                "next": piece.next,
            }
        )

    async def take(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ImportConversation, arguments)
        # Of 20,000 messages in one packet each takes its time: meanwhile others are answered.
        part = await asyncio.to_thread(
            parse_part, call.document, max_chars=self._max_message_chars, now=now_ms()
        )
        await self._pay(connection.user_id)
        async with connection.order.holding(call.conversation_id):
            conversation, created = await self._importing.take(
                call.conversation_id, connection.user_id, part
            )
        event = "conversation:created" if created else "conversation:updated"
        told(self._connections, event, conversation)
        return Reply(
            {
                "conversation": shapes.conversation_shape(conversation),
                "imported": conversation.message_count,
            }
        )
