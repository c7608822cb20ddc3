"""Back into the permanent store: one conversation at a time, its turns in their order.

Each step is harmless when repeated, and what is in the spool goes last: a server that dies in the
middle of it drains the conversation again.

Races, and what closes them:

- Another server, which could not see this one, has given a number that was given here: the store's
  unique number. Then the turn here gets the next number that is free.
- Another server went on with a turn that was open when the store went away: its attempt and owner.
  What the permanent store has then stays, and readers here are shown that.
- Another server's turn, accepted meanwhile, stands before what has ended here, and has no end yet:
  it is marked, and all are counted anew as it ends (``recount``).
- A message that was sent again where nobody could know it: the unique message id. The first stays.
- The conversation was deleted: its tombstone. Nothing of it comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from memory.errors import (
    Duplicate,
    DuplicateNumber,
    DuplicateRunning,
    NotFound,
    Taken,
    Unavailable,
)
from memory.records import ENDED, Conversation, Message, Turn, derived_id, messages_of
from spool.file import Lodging, SpoolFile
from spool.permanent import Permanent
from stores.contract import Drained

log = logging.getLogger(__name__)

MAX_COLLISIONS = 20


class Drain:
    """``lease_ms`` gives the lease that a turn has from then on: 0 for one that nobody answers.
    ``tell`` has memory and feed follow."""

    def __init__(
        self,
        file: SpoolFile,
        permanent: Permanent,
        lease_ms: Callable[[Turn], int],
        tell: Callable[[Drained], Awaitable[None]],
    ) -> None:
        self._tell = tell
        self._file = file
        self._permanent = permanent
        self._lease_ms = lease_ms

    async def drain(self, lodging: Lodging) -> Drained:
        """Bring all of it to the permanent store; then it is no longer here (or is left in the file
        until that can be written again).

        Raises ``Unavailable``: then all of it still is here.
        """
        turns = await self._file.turns_of(lodging.conversation_id)
        user_id = turns[0].user_id if turns else ""
        try:
            drained = await self._bring(lodging, turns)
        except NotFound:
            log.warning(
                "A conversation that was deleted does not come back from the spool.",
                extra={"action": "drain_gone", "conversation_id": lodging.conversation_id},
            )
            drained = Drained(
                conversation_id=lodging.conversation_id, user_id=user_id, as_told=False, gone=True
            )
        # Whoever dies before this is told drains it, and tells it, again.
        await self._tell(drained)
        try:
            await self._file.let_go(lodging.conversation_id)
        except Unavailable as error:
            log.warning(
                "What was drained stays in the spool's file for now: %s",
                error,
                extra={"action": "let_go_waits", "conversation_id": lodging.conversation_id},
            )
        return drained

    async def _bring(self, lodging: Lodging, turns: list[Turn]) -> Drained:
        conversation = await self._conversation(lodging)
        title = (await self._file.conversation(lodging.conversation_id)).title or None
        has_moved = conversation.id != lodging.conversation_id
        brought: list[tuple[Turn, Turn]] = []
        as_told = not has_moved
        dropped = 0
        for turn in turns:
            if lodging.is_copy(turn):
                continue
            given = _moved(turn, conversation.id) if has_moved else turn
            if dropped:
                given = replace(given, n=given.n - dropped, place=given.place - dropped)
            kept = await self._turn(given, title)
            if kept is None:
                as_told = False
                dropped += turn.n >= lodging.first_n  # those after it move up
                continue
            as_told = as_told and _as_told(kept) == _as_told(given)
            brought.append((turn, kept))
        is_mended = await self._permanent.turns.recount(conversation.id)
        stored: list[tuple[Turn, Message]] = []
        closing: list[Turn] = []
        for turn, kept in brought:
            if is_mended and kept.status in ENDED:
                kept = await self._permanent.turns.get(conversation.id, kept.id) or kept
            # By now its count is right: a conversation's counters only ever rise.
            if kept.status in ENDED and not turn.open:
                closing.append(kept)
                kept = replace(kept, open=False)
            # Counted from the last: it may have another id and number there.
            new = len(lodging.new_of(turn))
            stored += [(kept, each) for each in messages_of(kept)[::-1][:new][::-1]]
        close = partial(self._permanent.turns.close, soon=True)
        await asyncio.gather(*map(close, closing))
        # A turn before these that has no end yet changes their counts when it ends: they are not to
        # be kept in mind.
        self._permanent.turns.forget_rest(conversation.id)
        as_told = as_told and not is_mended
        return Drained(
            conversation_id=lodging.conversation_id,
            user_id=conversation.user_id,
            stored=stored,
            as_told=as_told,
            # Whoever follows it under this id would be shown another user's from now on.
            gone=has_moved,
            moved=has_moved,
        )

    async def _conversation(self, lodging: Lodging) -> Conversation:
        """Raises ``NotFound`` where it was deleted."""
        here = await self._file.conversation(lodging.conversation_id)
        try:
            if not lodging.made:
                return await self._permanent.conversations.get(here.id, here.user_id)
        except NotFound:
            # Another server has begun it in a spool that is not drained yet; or it was deleted,
            # and its tombstone says so now.
            log.debug("A conversation is made by whoever drains it first.")
        try:
            kept, _ = await self._permanent.conversations.create(
                here.id,
                here.user_id,
                here.title,
                digest=here.digest,
                at=here.created_at,
                choice=here.choice,
            )
        except Taken:
            # Another user has a conversation of this id, or this one by another call. What was
            # said is kept all the same.
            kept, _ = await self._permanent.conversations.create(
                derived_id("conversation", here.user_id, here.id),
                here.user_id,
                here.title,
                digest=here.digest,
                at=here.created_at,
                choice=here.choice,
            )
        return kept

    async def _turn(self, turn: Turn, title: str | None) -> Turn | None:
        """As the permanent store now has it; None where it has gone on with it otherwise, or knew
        its message already."""
        for _ in range(MAX_COLLISIONS):
            try:
                kept = await self._permanent.turns.take_in(
                    turn,
                    lease_ms=self._lease_ms(turn),
                    context=await self._file.turns.context(turn.conversation_id, turn.id),
                )
            except DuplicateNumber:
                turn = await self._renumbered(turn)
                continue
            except DuplicateRunning:
                turn = replace(turn, status="queued", owner=None)
                continue
            except Duplicate:
                if await self._is_known(turn):
                    return None
                turn = _under_another_id(turn)
                continue
            if kept is None:
                return None
            try:
                await self._permanent.conversations.touch(kept, title=title)
            except NotFound:  # deleted in this moment; whoever purges it may not have seen this
                await self._permanent.turns.remove(kept)
                raise
            return kept
        raise Unavailable("The conversation is too busy to be drained.")

    async def _is_known(self, turn: Turn) -> bool:
        """Whether this is a message that was sent again."""
        known = await self._permanent.turns.by_message(turn.user_id, turn.question.call_key)
        return known is not None and known.conversation_id == turn.conversation_id

    async def _renumbered(self, turn: Turn) -> Turn:
        last = await self._permanent.turns.last(turn.conversation_id)
        if last is None:
            return turn
        status = turn.status if turn.status in ENDED else "queued"
        return replace(
            turn,
            n=last.n + 1,
            place=last.place + 1,
            revision=last.revision,
            status=status,
            owner=None if status == "queued" else turn.owner,
            answers=None if turn.answers is None else await self._answers(turn, last),
        )

    async def _answers(self, turn: Turn, last: Turn) -> int:
        conversation = await self._permanent.conversations.get(turn.conversation_id, turn.user_id)
        before = max(conversation.position.answers, last.answers or 0)
        return before + (turn.answer is not None)


def _as_told(turn: Turn) -> tuple[str, int, int, str, int]:
    """What those who follow the conversation know of it, and might find otherwise."""
    return turn.id, turn.n, turn.place, turn.status, turn.attempt


def _under_another_id(turn: Turn) -> Turn:
    """Its sender used this id before, in another conversation, and was told that it is kept."""
    message_id = derived_id("message", turn.conversation_id, turn.question.message_id)
    return replace(
        turn,
        id=derived_id("turn", turn.user_id, message_id),
        question=replace(turn.question, message_id=message_id),
    )


def _moved(turn: Turn, conversation_id: str) -> Turn:
    return replace(turn, conversation_id=conversation_id)
