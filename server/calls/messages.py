"""The calls about messages and the turns they bring: sent, edited, answered again, stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from memory.records import Conversation, question_of
from server import protocol, shapes
from server.attachments import Attachments
from server.calls.conversations import told
from server.calls.dispatch import Handler
from server.calls.joining import joining, withdrawn_on_failure
from server.edge.connections import Connection, Connections
from server.edge.transport import Reply
from server.errors import Away, Missing
from server.feed.feeds import Feeds
from server.feed.following import Opening
from server.turns.acceptance import Acceptance, Accepted, Place, first_conversation_id
from server.turns.answering import Answering
from server.turns.rewriting import Rewriting
from stores.contract import ConversationStore


class MessageCalls:
    def __init__(
        self,
        *,
        connections: Connections,
        conversations: ConversationStore,
        feeds: Feeds,
        attachments: Attachments,
        acceptance: Acceptance,
        rewriting: Rewriting,
        answering: Answering,
        max_message_chars: int,
    ) -> None:
        self._connections = connections
        self._conversations = conversations
        self._feeds = feeds
        self._attachments = attachments
        self._acceptance = acceptance
        self._rewriting = rewriting
        self._answering = answering
        self._max_message_chars = max_message_chars

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "message:send": self.send,
            "message:edit": self.edit,
            "turn:stop": self.stop,
            "turn:regenerate": self.regenerate,
        }

    async def send(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.SendMessage, arguments)
        protocol.check_content(call.content, self._max_message_chars)
        user_id = connection.user_id
        attached = self._attachments.checked(user_id, call.message_id, call.attachments)
        self._refuse_work_while_stopping()
        about = call.conversation_id or first_conversation_id(user_id, call.message_id)
        async with joining(connection, about):
            follows = self._feeds.follows(connection, about)
            place = await self._acceptance.place(user_id, call, attached, follows=follows)
            if place.created:
                told(self._connections, "conversation:created", place.conversation)
            opening = await self._follow(connection, place.conversation)
            with withdrawn_on_failure(opening):
                accepted = await self._acceptance.accept(place, call)
        if accepted.conversation.title and not place.conversation.title:
            told(self._connections, "conversation:updated", accepted.conversation)
        return _accepted(accepted, partial(self._join, connection, place, opening))

    async def edit(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.EditMessage, arguments)
        protocol.check_content(call.content, self._max_message_chars)
        attached = None
        if call.attachments is not None:
            attached = self._attachments.checked(
                connection.user_id, call.new_message_id, call.attachments
            )
        self._refuse_work_while_stopping()
        async with joining(connection, call.conversation_id):
            await self._rewriting.pay_for_edit(connection.user_id, call)
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            opening = await self._follow(connection, conversation)
            with withdrawn_on_failure(opening):
                accepted = await self._rewriting.edit(conversation, call, attached)
        place = Place(conversation, False, None)
        return _accepted(accepted, partial(self._join, connection, place, opening))

    async def regenerate(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.RegenerateTurn, arguments)
        self._refuse_work_while_stopping()
        async with connection.order.holding(call.conversation_id):
            await self._rewriting.pay_for_regenerate(connection.user_id, call)
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            accepted = await self._rewriting.regenerate(conversation, call)
        return Reply({"turn": shapes.turn_shape(accepted.turn, as_accepted=True)})

    def _refuse_work_while_stopping(self) -> None:
        if self._answering.draining:
            raise Away("This server is stopping; another will take the message.")

    async def _follow(self, connection: Connection, conversation: Conversation) -> Opening | None:
        """Put the connection on the feed; None if it is there already."""
        if self._feeds.follows(connection, conversation.id):
            return None
        return await self._feeds.open(connection, conversation, None)

    def _join(self, connection: Connection, place: Place, opening: Opening | None) -> None:
        """A socket that was not on an existing conversation's feed gets a snapshot first."""
        if opening is None:
            return
        if not place.created:
            snapshot = {"conversation_id": place.conversation.id, **opening.shape()}
            self._connections.tell(connection, "conversation:snapshot", snapshot)
        opening.release()

    async def stop(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.StopTurn, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        turn = await self._answering.stop(conversation.id, call.turn_id)
        if turn is None:
            raise Missing("There is no such turn.", field="turn_id")
        return Reply({"turn": shapes.turn_shape(turn)})


def _accepted(accepted: Accepted, then: Callable[[], None]) -> Reply:
    turn = accepted.turn
    return Reply(
        {
            "conversation_id": turn.conversation_id,
            "message": shapes.message_shape(turn.conversation_id, question_of(turn)),
            "turn": shapes.turn_shape(turn, as_accepted=True),
            "durability": "spooled" if turn.spooled == "whole" else "permanent",
        },
        then=then,
    )
