"""Accepting messages: each once, in order, and owed an answer from the moment it is acknowledged.

Races, and what closes them:

- The same message id twenty times at once, on any server: the store's unique (user, message id).
  Whoever loses finds the winner's turn, and answers as it did.
- Two messages for the same place: the unique (conversation, number). The loser reads again.
- Two turns that would both run: the unique running turn. The loser waits.
- A conversation deleted while a message is accepted: ``touch`` finds the tombstone after the
  insert, and the turn is taken back; what was begun ahead of that is given up untold.
- A conversation that was configured on another server while this one keeps it in mind: ``touch``
  gives it as it is now, and the turn follows that, before it is told or acknowledged. (A server
  that dies between the two leaves a turn which nobody was told is kept: its next attempt is
  answered as the conversation was when it was last read here.)
- A message's attachments are stored, and its server dies before the insert: ``attachments.py``.
- A turn that ends between "is anything open?" and the insert of a waiting one: after every waiting
  insert the conversation is asked to go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Protocol

import msgspec

from memory.errors import (
    Duplicate,
    DuplicateMessage,
    DuplicateNumber,
    DuplicateRunning,
    NotFound,
    Unavailable,
)
from memory.records import (
    ENDED,
    Attachment,
    Choice,
    Conversation,
    Message,
    Position,
    Question,
    Turn,
    current,
    derived_id,
    question_of,
    request_digest,
)
from server.attachments import Attached, Attachments, references
from server.clock import now_ms
from server.errors import Busy, Conflict
from server.feed.feeds import Feeds
from server.protocol import SendMessage
from server.turns.ahead import NEW, ReadAhead, ReadingMemory
from server.turns.answering import Answering, position_at
from server.turns.toll import Purse, Toll
from server.turns.waiting import Joining
from stores.contract import ConversationStore, Rest, TurnStore

# Two servers that accept for one conversation at once collide now and then, never this often.
MAX_COLLISIONS = 50
TITLE_CHARS = 60
# Conversations kept in mind; half a kilobyte each.
MAX_KNOWN = 10_000


class Memory(ReadingMemory, Protocol):
    """What is asked of it about a message."""

    async def remember(
        self, conversation_id: str, message: Message, position: Position, *, begins: bool = False
    ) -> None: ...

    async def forget(self, conversation_id: str) -> None: ...


class Place(msgspec.Struct, frozen=True):
    """Where a message belongs; and its turn, where it was accepted before."""

    conversation: Conversation
    created: bool
    turn: Turn | None
    attachments: list[Attachment] = []
    """Of the message, and stored."""
    is_paid: bool = False


class Accepted(msgspec.Struct, frozen=True):
    turn: Turn
    conversation: Conversation


class Acceptance:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        turns: TurnStore,
        attachments: Attachments,
        memory: Memory,
        feeds: Feeds,
        answering: Answering,
        max_waiting: int,
        purse: Purse,
    ) -> None:
        self._conversations = conversations
        self._turns = turns
        self._attachments = attachments
        self._memory = memory
        self._feeds = feeds
        self._answering = answering
        self._max_waiting = max_waiting
        self._toll = Toll(turns, purse)
        self._known_here: OrderedDict[str, Conversation] = OrderedDict()
        """As they were when they last got a message here, the latest last."""

    async def place(
        self, user_id: str, call: SendMessage, attached: Attached = (), *, follows: bool = False
    ) -> Place:
        """Find or make the conversation of a message, and store what comes with it. A new one is
        paid for before anything is made for it. Raises ``NotFound``, ``Conflict``, ``RateLimited``
        and ``TooLarge``.

        ``follows``: the caller is on its feed, so that nobody opens it by what is found here.
        """
        attachments = references(attached)
        is_to_look = bool(attached) or call.conversation_id is None
        known, is_paid = await self._known_or_paid(user_id, call, is_to_look=is_to_look)
        if known is not None:
            return await self._known(known, call, attachments)
        if call.conversation_id is not None:
            conversation = None
            if follows:
                conversation = await self._as_known_here(call.conversation_id, user_id)
            if conversation is None:
                conversation = await self._conversations.get(call.conversation_id, user_id)
            await self._attachments.keep(user_id, conversation.id, call.message_id, attached)
            return Place(conversation, False, None, attachments, is_paid)
        first_id = first_conversation_id(user_id, call.message_id)
        # Before there is a conversation: where they can't be kept, none is to be begun.
        await self._attachments.keep(user_id, first_id, call.message_id, attached)
        conversation, created = await self._conversations.create(
            first_id,
            user_id,
            title_of(call.content),
            digest=None,
            at=now_ms(),
        )
        return Place(conversation, created, None, attachments, is_paid)

    async def _known_or_paid(
        self, user_id: str, call: SendMessage, *, is_to_look: bool
    ) -> tuple[Turn | None, bool]:
        """The turn of a message that was accepted before; and whether its price is taken.

        Nearly every message is new. So it is paid for at once, and whether it is known is left to
        its insert: that it is, is found by the index of messages, and the price given back. It is
        looked for where that can't be paid, and where something is made before the insert that a
        refused message must not leave behind: attachments, and a conversation.
        """
        if is_to_look:
            with suppress(Unavailable):
                known = await self._toll.known(user_id, call.message_id)
                return known, known is None
        refusal = await self._toll.pay(user_id)
        if refusal is None:
            return None, True
        known = await self._toll.known_or_refused(
            refusal,
            user_id,
            call.message_id,
            derived_id("turn", user_id, call.message_id),
            call.conversation_id or first_conversation_id(user_id, call.message_id),
        )
        return known, False

    async def _known(self, turn: Turn, call: SendMessage, attachments: list[Attachment]) -> Place:
        """The place of a message that was accepted before, if this is the same call again."""
        asked = call.conversation_id or first_conversation_id(turn.user_id, call.message_id)
        if turn.digest != request_digest(asked, call.content, attachments):
            raise Conflict(field="message_id")
        conversation = await self._conversations.get(turn.conversation_id, turn.user_id)
        return Place(conversation, False, turn, attachments)

    async def _as_known_here(self, conversation_id: str, user_id: str) -> Conversation | None:
        """A conversation need not be read again that came to rest here: it stays its user's, a
        title stays a title, and whether it was deleted or configured is found out by ``touch``."""
        known = self._known_here.get(conversation_id)
        if known is None or known.user_id != user_id or not known.title:
            return None
        await self._resting(conversation_id)
        return known if self._turns.at_rest(conversation_id) else None

    async def _resting(self, conversation_id: str) -> None:
        """The end of its last turn may have been told a moment ago. Returns when that is closed, or
        need not be."""
        if self._turns.at_rest(conversation_id) is None:
            async with self._feeds.announcing.holding(conversation_id):
                pass
        if self._turns.at_rest(conversation_id) is None:
            await self._answering.concluded(conversation_id)

    def _keep_in_mind(self, conversation: Conversation) -> None:
        self._known_here[conversation.id] = conversation
        self._known_here.move_to_end(conversation.id)
        if len(self._known_here) > MAX_KNOWN:
            self._known_here.popitem(last=False)

    async def accept(self, place: Place, call: SendMessage) -> Accepted:
        """Keep the message, and begin its answer or let it wait.

        Raises ``Busy`` when the caller would rather not wait, or too much is waiting already.
        """
        if place.turn is not None:
            return await self._repeated(place.turn, place.conversation)
        await self._resting(place.conversation.id)
        async with self._feeds.announcing.holding(place.conversation.id):
            asked = time.monotonic()
            try:
                with (
                    self._answering.reserving() as has_room,
                    self._answering.joining(place.conversation.user_id) as joining,
                ):
                    read_ahead = self._read_ahead(place)
                    turn, earlier = await self._insert(place, call, has_room, joining)
                    transcript = await read_ahead.with_question(turn)
                    with self._answering.runs.ahead(turn, transcript, leased_at=asked) as ahead:
                        begins = place.created and turn.n == 1
                        turn, conversation = await self._announce(turn, call, begins=begins)
                        if turn.status == "running":
                            before = read_ahead.answers_before(turn)
                            position = position_at(conversation, turn, answers_before=before)
                            self._answering.begin(turn, position, leased_at=asked, ahead=ahead)
            except DuplicateMessage:
                known = await self._turns.by_message(place.conversation.user_id, call.message_id)
                if known is None:
                    raise NotFound from None  # accepted and deleted within this moment
                return await self._paid_twice(place, call, known)
            except Busy:
                # For a new message; one that is known needs no place.
                known = None
                with suppress(Unavailable):  # nobody can tell: it may ask again
                    known = await self._turns.by_message(
                        place.conversation.user_id, call.message_id
                    )
                if known is None:
                    raise
                return await self._paid_twice(place, call, known)
            except Duplicate as error:  # the turn's id is in use, by a regenerate's choice of it
                raise Conflict(field="message_id") from error
        if turn.status == "queued":
            await self._wait_in_line(turn, earlier, call)
        return Accepted(turn, conversation)

    def _read_ahead(self, place: Place) -> ReadAhead:
        conversation_id = place.conversation.id
        rest = NEW if place.created else self._turns.at_rest(conversation_id)
        return ReadAhead(self._memory, conversation_id, rest, self._answering.tasks)

    async def _paid_twice(self, place: Place, call: SendMessage, turn: Turn) -> Accepted:
        if place.is_paid:
            self._toll.give_back(turn.user_id)
        place = await self._known(turn, call, place.attachments)
        return await self._repeated(turn, place.conversation)

    async def _repeated(self, turn: Turn, conversation: Conversation) -> Accepted:
        if turn.open:  # it may have been accepted on another server, or never been announced
            self._feeds.created(turn)
        return Accepted(turn, conversation)

    async def _insert(
        self, place: Place, call: SendMessage, has_room: bool, joining: Joining
    ) -> tuple[Turn, list[Turn]]:
        """The new turn, and the open ones before it. Raises ``Busy`` and ``DuplicateMessage``."""
        conversation = place.conversation
        for attempt in range(MAX_COLLISIONS):
            # Whatever others did since has a number that the insert collides with; so it has where
            # this message has begun the conversation a moment ago.
            last: Turn | Rest | None = self._turns.at_rest(conversation.id)
            earlier: list[Turn] = []
            if last is None and (attempt or not place.created):
                # The last first: what opens in between has a number that the insert collides with.
                last = await self._turns.last(conversation.id)
                earlier = current(await self._turns.open_turns(conversation.id))
            if earlier and call.if_busy == "reject":
                raise Busy
            if self._max_waiting and len(earlier) > self._max_waiting:
                raise Busy("Too many messages are waiting for an answer.")
            turn = self._new_turn(place, call, last, runs=has_room and not earlier)
            if turn.status == "queued":
                joining.take_place()
            try:
                # With nothing before it, it waits for room only: any server may have some.
                is_free = turn.status == "queued" and not earlier
                lease_ms = 0 if is_free else self._answering.lease_ms
                return await self._turns.insert(turn, lease_ms=lease_ms), earlier
            except (DuplicateNumber, DuplicateRunning):
                continue
        raise Unavailable("The conversation is too busy to place a message.")

    def _new_turn(
        self, place: Place, call: SendMessage, last: Turn | Rest | None, *, runs: bool
    ) -> Turn:
        at = now_ms()
        conversation = place.conversation
        return Turn(
            id=derived_id("turn", conversation.user_id, call.message_id),
            conversation_id=conversation.id,
            user_id=conversation.user_id,
            n=last.n + 1 if last else 1,
            place=last.place + 1 if last else 1,
            revision=last.revision if last else 0,
            question=Question(
                message_id=call.message_id,
                content=call.content,
                created_at=at,
                attachments=place.attachments,
            ),
            digest=request_digest(conversation.id, call.content, place.attachments),
            accepted="running" if runs else "queued",
            status="running" if runs else "queued",
            attempt=int(runs),
            owner=self._answering.owner,
            created_at=at,
            choice=conversation.choice,
        )

    async def _announce(
        self, turn: Turn, call: SendMessage, *, begins: bool
    ) -> tuple[Turn, Conversation]:
        """Into the conversation's counters, into memory, onto the feed; both as they are then."""
        conversation_id, question = turn.conversation_id, question_of(turn)
        position = Position(revision=turn.revision, turn=turn.place)
        # At the same time, because the store has the turn. Where the conversation was deleted,
        # memory has no keys for it, or they go after its tombstone is there; what begins just then
        # goes here.
        remembering = asyncio.ensure_future(
            self._memory.remember(conversation_id, question, position, begins=begins)
        )
        try:
            conversation = await self._conversations.touch(turn, title=title_of(call.content))
        except NotFound:
            self._known_here.pop(conversation_id, None)
            await self._turns.remove(turn)
            if begins:
                await remembering
                await self._memory.forget(conversation_id)
            raise
        finally:
            await remembering
        self._keep_in_mind(conversation)
        if turn.choice != conversation.choice:
            turn = await self._chosen(turn, conversation.choice)
        self._feeds.created(turn)
        if turn.status == "queued":
            self._answering.keep(turn)
            self._feeds.queued(turn)
        return turn, conversation

    async def _chosen(self, turn: Turn, choice: Choice) -> Turn:
        """The turn with its conversation's choice; or as it is, where it was taken on meanwhile."""
        if await self._turns.choose(turn, choice):
            return msgspec.structs.replace(turn, choice=choice)
        return turn

    async def _wait_in_line(self, turn: Turn, earlier: list[Turn], call: SendMessage) -> None:
        if call.if_busy == "interrupt":
            # It goes next: what runs is stopped, and so is what waited before it.
            for other in reversed(earlier):
                if other.status not in ENDED:
                    await self._answering.stop(other.conversation_id, other.id)
        await self._answering.advance(turn.conversation_id)


def first_conversation_id(user_id: str, message_id: str) -> str:
    """The conversation that a message without one begins: two first sends make one conversation."""
    return derived_id("conversation", user_id, message_id)


def title_of(content: str) -> str:
    """A conversation's first title: the beginning of its first message, in one line."""
    line = " ".join(content.replace("\0", " ").split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
