"""The calls about conversations as a whole: made, listed, opened, renamed, deleted."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from memory.records import NO_CHOICE, Choice, Conversation
from server import history, protocol, shapes
from server.calls.dispatch import Handler
from server.calls.joining import joining, withdrawn_on_failure
from server.choices import Choices
from server.clock import now_ms
from server.deletion import Deletion
from server.edge.connections import Connection, Connections
from server.edge.transport import Reply
from server.feed.feeds import Feeds
from stores.contract import ConversationStore, TurnStore


class ConversationCalls:
    def __init__(
        self,
        *,
        connections: Connections,
        conversations: ConversationStore,
        turns: TurnStore,
        deletion: Deletion,
        feeds: Feeds,
        choices: Choices,
    ) -> None:
        self._connections = connections
        self._conversations = conversations
        self._turns = turns
        self._deletion = deletion
        self._feeds = feeds
        self._choices = choices

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "conversation:create": self.create,
            "conversation:list": self.list,
            "conversation:open": self.open,
            "conversation:history": self.history,
            "conversation:close": self.close,
            "conversation:rename": self.rename,
            "conversation:configure": self.configure,
            "conversation:delete": self.delete,
        }

    async def create(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.CreateConversation, arguments)
        choice = self._choices.of(call)
        conversation_id = call.conversation_id or protocol.new_id()
        conversation, created = await self._conversations.create(
            conversation_id,
            connection.user_id,
            call.title or "",
            digest=_digest(call.title or "", choice),
            at=now_ms(),
            choice=choice,
        )
        if created:
            told(self._connections, "conversation:created", conversation)
        return Reply({"conversation": shapes.conversation_shape(conversation)})

    async def list(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ListConversations, arguments)
        before = protocol.parse_list_cursor(call.before)
        # One more than asked for tells whether there is a next page.
        found = await self._conversations.list(
            connection.user_id, before=before, limit=call.limit + 1
        )
        page = found[: call.limit]
        return Reply(
            {
                "conversations": [shapes.conversation_shape(each) for each in page],
                "next": protocol.list_cursor(page[-1]) if len(found) > call.limit else None,
            }
        )

    async def open(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.OpenConversation, arguments)
        async with joining(connection, call.conversation_id):
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            opening = await self._feeds.open(connection, conversation, call.after)
            with withdrawn_on_failure(opening):
                # What is answered counts at least what the snapshot shows; and a conversation that
                # has been deleted meanwhile is on no feed any more.
                if conversation.position != opening.position or not self._feeds.follows(
                    connection, conversation.id
                ):
                    conversation = await self._conversations.get(
                        conversation.id, connection.user_id
                    )
        return Reply(
            {
                "conversation": shapes.conversation_shape(conversation),
                "recovery": opening.recovery,
                **opening.shape(),
            },
            then=opening.release,
        )

    async def history(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ConversationHistory, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        messages, has_more = await history.page(
            self._turns, conversation.id, call.before, call.limit
        )
        shown = [shapes.message_shape(conversation.id, message) for message in messages]
        return Reply({"messages": shown, "has_more": has_more})

    async def close(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.CloseConversation, arguments)
        async with connection.order.holding(call.conversation_id):
            if not self._feeds.follows(connection, call.conversation_id):
                await self._conversations.get(call.conversation_id, connection.user_id)
            self._feeds.leave(connection, call.conversation_id)
        return Reply({})

    async def rename(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.RenameConversation, arguments)
        async with connection.order.holding(call.conversation_id):
            conversation = await self._conversations.rename(
                call.conversation_id, connection.user_id, call.title
            )
        told(self._connections, "conversation:updated", conversation)
        return Reply({"conversation": shapes.conversation_shape(conversation)})

    async def configure(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.ConfigureConversation, arguments)
        self._choices.require(call)
        async with connection.order.holding(call.conversation_id):
            conversation = await self._conversations.configure(
                call.conversation_id,
                connection.user_id,
                model=call.model,
                system_prompt=call.system_prompt,
            )
        told(self._connections, "conversation:updated", conversation)
        return Reply({"conversation": shapes.conversation_shape(conversation)})

    async def delete(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.DeleteConversation, arguments)
        async with connection.order.holding(call.conversation_id):
            await self._deletion.delete(call.conversation_id, connection.user_id)
        told = {"conversation_id": call.conversation_id}
        self._connections.tell_everywhere(connection.user_id, "conversation:deleted", told)
        return Reply({})


def _digest(title: str, choice: Choice) -> str:
    """What must be the same in a call that creates a conversation again."""
    text = title.encode()
    if choice != NO_CHOICE:  # else as older servers have it
        text = msgspec.json.encode([title, choice.model, choice.system_prompt])
    return hashlib.sha256(text).hexdigest()


def told(connections: Connections, event: str, conversation: Conversation) -> None:
    """Tell every connection of its owner."""
    shape = {"conversation": shapes.conversation_shape(conversation)}
    connections.tell_everywhere(conversation.user_id, event, shape)
