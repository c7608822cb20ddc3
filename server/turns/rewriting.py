"""Edits and regenerates: turns that take an earlier one's place, and all that followed it.

An edit is a turn like any other, with the next number: keeping it is one atomic write, and it takes
effect with that. The rest follows from it, in steps that are harmless when repeated: what it
supersedes is marked, the conversation's counters and summary follow, memory forgets, the feed tells
``message:removed``. A server that dies in between leaves an open turn: whoever goes on with that
supersedes first, and a log that was not told begins anew.

Races, and what closes them:

- An edit and a message, or two edits, at once, on any servers: the unique number. Who loses reads
  again, and may find that what it was to replace is gone.
- What is to be replaced is being answered: it is stopped first, so that its readers are told how it
  ended. Should its server be slow, it is superseded all the same, and can't be finished any more.
- An edit that comes too late, and will be refused, finds the answer of the one before it open, and
  would stop that: what is open is read before it is looked whether there still is anything to
  replace. What was superseded by then stays so.
- An edit that is repeated while the first call is under way: the unique (user, key); and where the
  second finds that there is nothing to replace any more, it looks for its own key once more.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
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
from memory.records import ENDED, Choice, Conversation, Question, Turn, current, derived_id
from server.attachments import Attached, Attachments, references
from server.clock import now_ms
from server.errors import Busy, Conflict, Missing
from server.feed.feeds import Feeds
from server.protocol import EditMessage, RegenerateTurn
from server.turns.acceptance import MAX_COLLISIONS, Accepted
from server.turns.answering import Answering, position_at
from server.turns.toll import Purse, Toll
from server.turns.waiting import Joining
from stores.contract import ConversationStore, TurnStore

# How often what is to be replaced is stopped before it is replaced without its having ended.
MAX_STOPS = 3

Find = Callable[[], Awaitable[Turn]]


class Rewrite:
    """One call: what it asks, under which key, and how the turn that it replaces is found."""

    def __init__(self, turn_id: str, key: str, digest: str, field: str, find: Find) -> None:
        self.turn_id = turn_id
        self.key = key
        self.digest = digest
        self.field = field
        self.find = find
        self.content: str | None = None
        """Of an edit; a regenerate asks again what was asked."""
        self.attached: Attached | None = None
        """What comes with an edit; None: what came with the message that it replaces."""

    def question(self, replaced: Turn, at: int) -> Question:
        asked = replaced.question
        if self.content is not None:
            attached = self.attached
            return Question(
                message_id=self.key,
                content=self.content,
                created_at=at,
                attachments=asked.attachments if attached is None else references(attached),
            )
        return Question(
            message_id=asked.message_id,
            content=asked.content,
            created_at=asked.created_at,
            attachments=asked.attachments,
            key=self.key,
        )


class ForgettingMemory(Protocol):
    async def forget(self, conversation_id: str) -> None: ...


class Rewriting:
    def __init__(
        self,
        *,
        conversations: ConversationStore,
        turns: TurnStore,
        attachments: Attachments,
        memory: ForgettingMemory,
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

    async def pay_for_edit(self, user_id: str, call: EditMessage) -> None:
        """Before anything else is done about it. A repeated call is free. Raises ``RateLimited``,
        and ``Unavailable`` where nobody can tell: then it can't be done either."""
        await self._toll.known(user_id, call.new_message_id)

    async def pay_for_regenerate(self, user_id: str, call: RegenerateTurn) -> None:
        """As ``pay_for_edit``."""
        await self._toll.known(user_id, _regenerate_key(user_id, call.new_turn_id))

    async def edit(
        self, conversation: Conversation, call: EditMessage, attached: Attached | None = None
    ) -> Accepted:
        """Raises ``Missing``, ``Conflict``, ``Busy``, ``NotFound``, ``TooLarge`` and
        ``Unavailable``."""

        async def find() -> Turn:
            asked = await self._turns.by_message(conversation.user_id, call.message_id)
            if asked is not None and asked.conversation_id == conversation.id:
                # The one at its place may be a regenerate of it; or what an edit made of it.
                there = await self._turns.at_place(conversation.id, asked.place)
                if there is not None and there.question.message_id == call.message_id:
                    return there
            raise Missing("There is no such message of yours.", field="message_id")

        replacing = [] if attached is None else ["attachments"]
        replacing += [each.id for each in references(attached or [])]
        rewrite = Rewrite(
            derived_id("turn", conversation.user_id, call.new_message_id),
            call.new_message_id,
            _digest("edit", conversation.id, call.message_id, call.content, *replacing),
            "new_message_id",
            find,
        )
        rewrite.content, rewrite.attached = call.content, attached
        return await self._rewrite(conversation, rewrite)

    async def regenerate(self, conversation: Conversation, call: RegenerateTurn) -> Accepted:
        """Raises ``Missing``, ``Conflict``, ``Busy``, ``NotFound`` and ``Unavailable``."""

        async def find() -> Turn:
            turn = await self._turns.get(conversation.id, call.turn_id)
            # Somebody's edit may have superseded it, and not be through with marking that.
            there = turn and await self._turns.at_place(conversation.id, turn.place)
            if turn is None or there is None or there.id != turn.id:
                raise Missing("There is no such turn.", field="turn_id")
            if turn.status not in ENDED:
                raise Busy("This turn has not ended yet.")
            return turn

        rewrite = Rewrite(
            call.new_turn_id,
            _regenerate_key(conversation.user_id, call.new_turn_id),
            _digest("regenerate", conversation.id, call.turn_id),
            "new_turn_id",
            find,
        )
        return await self._rewrite(conversation, rewrite)

    async def _rewrite(self, conversation: Conversation, rewrite: Rewrite) -> Accepted:
        await self._turns.require_rewritable(conversation.id)
        try:
            return await self._attempt(conversation, rewrite)
        except (Missing, Busy):
            # What it would replace is gone or busy: by this very call, perhaps, on another server.
            known = await self._turns.by_message(conversation.user_id, rewrite.key)
            if known is None:
                raise
            return await self._repeated(known, rewrite)

    async def _attempt(self, conversation: Conversation, rewrite: Rewrite) -> Accepted:
        for _ in range(MAX_STOPS):
            known = await self._turns.by_message(conversation.user_id, rewrite.key)
            if known is not None:
                return await self._repeated(known, rewrite)
            # What is open first. What is to be replaced stands there after that, so it did then:
            # nothing of what is stopped belongs to an edit that came before this one.
            open_turns = await self._turns.open_turns(conversation.id)
            if not await self._stop_from((await rewrite.find()).place, open_turns):
                break
        await self._attachments.keep(
            conversation.user_id, conversation.id, rewrite.key, rewrite.attached or []
        )
        try:
            turn, conversation = await self._begin(conversation, rewrite)
        except DuplicateMessage:
            known = await self._turns.by_message(conversation.user_id, rewrite.key)
            if known is None:
                raise Missing from None  # accepted and deleted within this moment
            return await self._repeated(known, rewrite)
        except Duplicate as error:  # somebody else's turn has this id
            raise Conflict(field=rewrite.field) from error
        if turn.status == "queued":
            await self._answering.advance(turn.conversation_id)
        return Accepted(turn, conversation)

    async def _begin(
        self, conversation: Conversation, rewrite: Rewrite
    ) -> tuple[Turn, Conversation]:
        await self._answering.concluded(conversation.id)
        async with self._feeds.announcing.holding(conversation.id):
            asked = time.monotonic()
            with (
                self._answering.reserving() as has_room,
                self._answering.joining(conversation.user_id) as joining,
            ):
                turn, open_before = await self._insert(conversation, rewrite, has_room, joining)
                conversation = await self._take_effect(turn, open_before)
                if turn.status == "running":
                    position = position_at(conversation, turn)
                    self._answering.begin(turn, position, leased_at=asked)
        return turn, conversation

    async def _repeated(self, turn: Turn, rewrite: Rewrite) -> Accepted:
        if turn.digest != rewrite.digest:
            raise Conflict(field=rewrite.field)
        conversation = await self._conversations.get(turn.conversation_id, turn.user_id)
        if conversation.position.revision < turn.revision:
            async with self._feeds.announcing.holding(turn.conversation_id):
                conversation = await self._take_effect(turn, [])
        return Accepted(turn, conversation)

    async def _stop_from(self, place: int, open_turns: list[Turn]) -> bool:
        """Stop what of these stands at this place or after it; whether there was anything to
        stop."""
        affected = [turn for turn in open_turns if turn.place >= place and turn.status not in ENDED]
        for turn in reversed(affected):  # the running one last: nothing of these begins after it
            await self._answering.stop(turn.conversation_id, turn.id)
        return bool(affected)

    async def _insert(
        self, conversation: Conversation, rewrite: Rewrite, has_room: bool, joining: Joining
    ) -> tuple[Turn, list[Turn]]:
        """The new turn, and what was open. Raises ``Busy``, ``Missing`` and ``Duplicate``."""
        for _ in range(MAX_COLLISIONS):
            # The last first: what opens in between then has a number that the insert collides with.
            last = await self._turns.last(conversation.id)
            replaced = await rewrite.find()
            open_turns = await self._turns.open_turns(conversation.id)
            earlier = [turn for turn in current(open_turns) if turn.place < replaced.place]
            if self._max_waiting and len(earlier) > self._max_waiting:
                raise Busy("Too many messages are waiting for an answer.")
            if last is None:
                raise Missing
            # What runs at its place or after it, on a slow server, must be superseded first.
            is_free = not any(turn.status == "running" for turn in open_turns)
            runs = has_room and not earlier and is_free
            turn = self._new_turn(rewrite, replaced, last, conversation.choice, runs=runs)
            if not runs:
                joining.take_place()
            waits_for_room = not runs and not earlier and is_free
            try:
                lease_ms = 0 if waits_for_room else self._answering.lease_ms
                return await self._turns.insert(turn, lease_ms=lease_ms), open_turns
            except (DuplicateNumber, DuplicateRunning):
                continue
        raise Unavailable("The conversation is too busy to be changed.")

    def _new_turn(
        self, rewrite: Rewrite, replaced: Turn, last: Turn, choice: Choice, *, runs: bool
    ) -> Turn:
        at = now_ms()
        return Turn(
            id=rewrite.turn_id,
            conversation_id=replaced.conversation_id,
            user_id=replaced.user_id,
            n=last.n + 1,
            place=replaced.place,
            revision=last.revision + 1,
            rewrites=True,
            question=rewrite.question(replaced, at),
            digest=rewrite.digest,
            accepted="running" if runs else "queued",
            status="running" if runs else "queued",
            attempt=int(runs),
            owner=self._answering.owner,
            created_at=at,
            choice=choice,
        )

    async def _take_effect(self, turn: Turn, open_before: list[Turn]) -> Conversation:
        """In the store, in memory, on the feed. Harmless when repeated."""
        try:
            superseded = await self._turns.supersede(turn)
        except NotFound:
            await self._turns.remove(turn)
            raise
        conversation = await self._conversations.touch(turn)
        await self._memory.forget(turn.conversation_id)
        were_open = {each.id for each in open_before}
        for each in superseded:
            if each.id in were_open:
                self._answering.lost([each.id])
                self._feeds.superseded(each)
        self._feeds.rewritten(turn, superseded, answers=conversation.position.answers)
        if turn.status == "queued":
            self._answering.keep(turn)
            self._feeds.queued(turn)
        return conversation


def _regenerate_key(user_id: str, new_turn_id: str) -> str:
    return derived_id("regenerate", user_id, new_turn_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
