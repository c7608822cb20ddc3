"""The contract's calls: each parses, asks the one who knows, and answers."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from memory.records import Conversation, question_of
from server import history, protocol
from server.clock import now_ms
from server.deletion import Deletion
from server.edge.connections import Connection, Connections
from server.edge.rates import Rates
from server.edge.transport import Reply
from server.errors import Away, CallError, Internal, Invalid, Missing, RateLimited, as_call_error
from server.feed.feeds import Feeds
from server.feed.following import Opening
from server.turns.acceptance import Acceptance, Accepted, Place, first_conversation_id
from server.turns.answering import Answering
from server.turns.rewriting import Rewriting
from stores.contract import ConversationStore, TurnStore

log = logging.getLogger(__name__)

Handler = Callable[[Connection, tuple[Any, ...]], Awaitable[Reply]]

# What these cost is taken once it is known that they are new (``turns/toll.py``); or that they are
# no repeated calls, by what is wrong with them.
PAID_WHEN_NEW = ("message:send", "message:edit", "turn:regenerate")
NEVER_ACCEPTED = ("invalid", "too_large", "conflict")


class Calls:
    """``dispatch`` answers every call of every connection, whatever it is."""

    def __init__(
        self,
        *,
        connections: Connections,
        rates: Rates,
        conversations: ConversationStore,
        turns: TurnStore,
        deletion: Deletion,
        feeds: Feeds,
        acceptance: Acceptance,
        rewriting: Rewriting,
        answering: Answering,
        max_message_chars: int,
    ) -> None:
        self._connections = connections
        self._rates = rates
        self._conversations = conversations
        self._turns = turns
        self._deletion = deletion
        self._feeds = feeds
        self._acceptance = acceptance
        self._rewriting = rewriting
        self._answering = answering
        self._max_message_chars = max_message_chars
        self._handlers: dict[str, Handler] = {
            "conversation:create": self.create,
            "conversation:list": self.list,
            "conversation:open": self.open,
            "conversation:history": self.history,
            "conversation:close": self.close,
            "conversation:rename": self.rename,
            "conversation:delete": self.delete,
            "message:send": self.send,
            "message:edit": self.edit,
            "turn:stop": self.stop,
            "turn:regenerate": self.regenerate,
        }
        # Of what appears with its first case no rate shows that case: so these are there at once.
        self.answered: Counter[tuple[str, str]] = Counter(
            {(name, code): 0 for name in self._handlers for code in ("ok", "internal")}
        )
        """By the call's name and "ok" or the error's code."""

    async def dispatch(self, sid: str, name: Any, arguments: tuple[Any, ...]) -> Reply:
        """Answer one call. Whatever goes wrong becomes an error of the contract, here."""
        connection = self._connections.get(sid)
        try:
            handler = self._handlers.get(name) if isinstance(name, str) else None
            if connection is not None:
                # Those that pay later take the lock only to overtake nobody here.
                async with connection.paying:
                    if name not in PAID_WHEN_NEW:
                        await self._rates.take(connection.user_id, "calls")
            if connection is None or handler is None:
                raise Invalid("There is no such call.")
            answer = await handler(connection, arguments)
            answer.body["ok"] = True
            self.answered[name, "ok"] += 1
            return answer
        except Exception as error:
            mapped = as_call_error(error)
            call = self.known(name)
            if connection is not None and call in PAID_WHEN_NEW and mapped.code in NEVER_ACCEPTED:
                mapped = await self._pay_for_nothing(connection, mapped)
            if isinstance(mapped, Internal):
                log.error("A call failed.", extra={"action": "call", "call": call}, exc_info=error)
            self.answered[call, mapped.code] += 1
            return Reply({"ok": False, "error": mapped.shape()})

    async def _pay_for_nothing(self, connection: Connection, error: CallError) -> CallError:
        """A call that has not paid, as nothing was done about it: what it is answered."""
        try:
            await self._rates.take(connection.user_id, "calls")
        except RateLimited as limited:
            return limited
        return error

    def known(self, name: Any) -> str:
        """The name of a call, or "unknown": of what clients make up there is no end."""
        return name if isinstance(name, str) and name in self._handlers else "unknown"

    async def create(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.CreateConversation, arguments)
        conversation_id = call.conversation_id or protocol.new_id()
        conversation, created = await self._conversations.create(
            conversation_id,
            connection.user_id,
            call.title or "",
            digest=hashlib.sha256((call.title or "").encode()).hexdigest(),
            at=now_ms(),
        )
        if created:
            self._tell(connection, "conversation:created", conversation)
        return Reply({"conversation": protocol.conversation_shape(conversation)})

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
                "conversations": [protocol.conversation_shape(each) for each in page],
                "next": protocol.list_cursor(page[-1]) if len(found) > call.limit else None,
            }
        )

    async def open(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.OpenConversation, arguments)
        async with _joining(connection, call.conversation_id):
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            opening = await self._feeds.open(connection, conversation, call.after)
            with _withdrawn_on_failure(opening):
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
                "conversation": protocol.conversation_shape(conversation),
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
        shapes = [protocol.message_shape(conversation.id, message) for message in messages]
        return Reply({"messages": shapes, "has_more": has_more})

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
        self._tell(connection, "conversation:updated", conversation)
        return Reply({"conversation": protocol.conversation_shape(conversation)})

    async def delete(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.DeleteConversation, arguments)
        async with connection.order.holding(call.conversation_id):
            await self._deletion.delete(call.conversation_id, connection.user_id)
        told = {"conversation_id": call.conversation_id}
        self._connections.tell_everywhere(connection.user_id, "conversation:deleted", told)
        return Reply({})

    async def send(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.SendMessage, arguments)
        protocol.check_content(call.content, self._max_message_chars)
        self._refuse_work_while_stopping()
        user_id = connection.user_id
        about = call.conversation_id or first_conversation_id(user_id, call.message_id)
        async with _joining(connection, about):
            follows = self._feeds.follows(connection, about)
            place = await self._acceptance.place(user_id, call, follows=follows)
            if place.created:
                self._tell(connection, "conversation:created", place.conversation)
            opening = await self._follow(connection, place.conversation)
            with _withdrawn_on_failure(opening):
                accepted = await self._acceptance.accept(place, call)
        if accepted.conversation.title and not place.conversation.title:
            self._tell(connection, "conversation:updated", accepted.conversation)
        return _accepted(accepted, partial(self._join, connection, place, opening))

    async def edit(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.EditMessage, arguments)
        protocol.check_content(call.content, self._max_message_chars)
        self._refuse_work_while_stopping()
        async with _joining(connection, call.conversation_id):
            await self._rewriting.pay_for_edit(connection.user_id, call)
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            opening = await self._follow(connection, conversation)
            with _withdrawn_on_failure(opening):
                accepted = await self._rewriting.edit(conversation, call)
        place = Place(conversation, False, None)
        return _accepted(accepted, partial(self._join, connection, place, opening))

    async def regenerate(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.RegenerateTurn, arguments)
        self._refuse_work_while_stopping()
        async with connection.order.holding(call.conversation_id):
            await self._rewriting.pay_for_regenerate(connection.user_id, call)
            conversation = await self._conversations.get(call.conversation_id, connection.user_id)
            accepted = await self._rewriting.regenerate(conversation, call)
        return Reply({"turn": protocol.turn_shape(accepted.turn, as_accepted=True)})

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

    def _tell(self, connection: Connection, event: str, conversation: Conversation) -> None:
        shape = {"conversation": protocol.conversation_shape(conversation)}
        self._connections.tell_everywhere(connection.user_id, event, shape)

    async def stop(self, connection: Connection, arguments: tuple[Any, ...]) -> Reply:
        call = protocol.parse(protocol.StopTurn, arguments)
        conversation = await self._conversations.get(call.conversation_id, connection.user_id)
        turn = await self._answering.stop(conversation.id, call.turn_id)
        if turn is None:
            raise Missing("There is no such turn.", field="turn_id")
        return Reply({"turn": protocol.turn_shape(turn)})


@asynccontextmanager
async def _joining(connection: Connection, conversation_id: str) -> AsyncIterator[None]:
    """In the order of its calls, and with a place among the conversations that it may follow."""
    async with connection.order.holding(conversation_id):
        with connection.joining(conversation_id):
            yield


@contextmanager
def _withdrawn_on_failure(opening: Opening | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if opening is not None:
            opening.withdraw()
        raise


def _accepted(accepted: Accepted, then: Callable[[], None]) -> Reply:
    turn = accepted.turn
    return Reply(
        {
            "conversation_id": turn.conversation_id,
            "message": protocol.message_shape(turn.conversation_id, question_of(turn)),
            "turn": protocol.turn_shape(turn, as_accepted=True),
            "durability": "spooled" if turn.spooled == "whole" else "permanent",
        },
        then=then,
    )
