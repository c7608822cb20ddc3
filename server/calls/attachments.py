"""The call that gives back what came with a message."""

from __future__ import annotations

import base64
from typing import Any

from server import protocol, shapes
from server.attachments import Attachments
from server.calls.dispatch import Handler
from server.edge.connections import Connection
from server.edge.transport import Reply
from server.errors import Missing
from stores.contract import ConversationStore


class AttachmentCalls:
    def __init__(self, *, conversations: ConversationStore, attachments: Attachments) -> None:
        self._conversations = conversations
        self._attachments = attachments

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"attachment:get": self.get}

    async def get(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.GetAttachment, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        found = await self._attachments.get(conversation.id, call.attachment_id)
        if found is None:
            raise Missing("There is no such attachment.", field="attachment_id")
        attachment, data = found
        return Reply(
            {
                "attachment": shapes.attachment_shape(attachment),
                "data": base64.b64encode(data).decode(),
            }
        )
