"""An archive over conversations and turns: the part that both permanent stores have in common."""

from __future__ import annotations

from typing import Protocol

import msgspec

from memory.errors import NotFound
from memory.records import (
    Message,
    Position,
    Summary,
    Transcript,
    Turn,
    current,
    messages_of,
)
from stores.rules import kept_by


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation's own record says about its transcript."""

    revision: int
    summary: Summary | None


class ConversationSource(Protocol):
    async def standing(self, conversation_id: str) -> Standing:
        """Raises ``NotFound`` for a conversation that was never made or is deleted."""
        ...

    async def save_summary(
        self, conversation_id: str, summary: Summary, *, revision: int
    ) -> bool: ...


class TurnSource(Protocol):
    async def last(self, conversation_id: str) -> Turn | None:
        """The turn with the highest number."""
        ...

    async def before(self, conversation_id: str, place: int | None, limit: int) -> list[Turn]:
        """Up to ``limit`` current turns with a smaller place (None: the latest), ascending; there
        are earlier ones unless the first is at place 1."""
        ...

    async def since(self, conversation_id: str, place: int, limit: int) -> list[Turn]:
        """Up to ``limit`` turns from this place on, ascending; what a rewriting turn supersedes may
        be among them for as long as the conversation's record does not have its revision."""
        ...

    async def answers_before(self, turn: Turn) -> int:
        """How many answers the current turns before this one have."""
        ...


class TurnArchive:
    """``memory.archive.Archive`` for a store that has conversations and turns."""

    def __init__(self, conversations: ConversationSource, turns: TurnSource) -> None:
        self._conversation_source = conversations
        self._turn_source = turns

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        turns = await self._latest(conversation_id, max_messages)
        # After the turns: what it says of them is then at least as new as they are, unless a
        # rewriting turn has yet to bring it along.
        standing = await self._conversation_source.standing(conversation_id)
        messages = [message for turn in turns for message in messages_of(turn)]
        return Transcript(
            messages=messages[max(0, len(messages) - max_messages) :],
            summary=summary_of(turns, standing),
            position=Position(
                revision=turns[-1].revision if turns else standing.revision,
                turn=turns[-1].place if turns else 0,
                answers=await self._answers(turns),
            ),
        )

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        try:
            standing = await self._conversation_source.standing(conversation_id)
        except NotFound:
            return []  # its turns may not be purged yet, but nobody may read them any more
        last = await self._turn_source.last(conversation_id)
        if last is not None and last.revision > standing.revision:
            return []  # what was rewritten is not all marked yet, and must get into no summary
        # The first turn may have no message after seq, every later one has its question.
        turns = await self._turn_source.since(conversation_id, (seq + 2) // 2, limit + 1)
        messages: list[Message] = []
        for turn in turns:
            if turn.open:
                # Its answer is still to come; a summary that went past it would leave it out.
                break
            messages += [m for m in messages_of(turn) if m.seq is not None and m.seq > seq]
        return messages[:limit]

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        return await self._conversation_source.save_summary(
            conversation_id, summary, revision=revision
        )

    async def _latest(self, conversation_id: str, max_messages: int) -> list[Turn]:
        """Turns that hold at least the last ``max_messages`` messages, where there are so many.

        What is read later is earlier in the transcript, so the whole is as it was at one moment:
        turns are answered in order, and an edit in between is seen by its turn, or not at all.
        """
        turns = await self._turn_source.before(conversation_id, None, max_messages // 2 + 1)
        while turns and turns[0].place > 1 and _count(turns) < max_messages:
            # Many without an answer, or some that were just rewritten.
            place = turns[0].place
            earlier = await self._turn_source.before(conversation_id, place, max_messages)
            if not earlier:
                break
            turns = current([*earlier, *turns])
        return turns

    async def _answers(self, turns: list[Turn]) -> int:
        """Turns are answered in order, so the latest count among them is the conversation's."""
        for turn in reversed(turns):
            if turn.answers is not None:
                return turn.answers
        return await self._turn_source.answers_before(turns[0]) if turns else 0


def summary_of(turns: list[Turn], standing: Standing) -> Summary | None:
    """The summary, unless a rewriting turn among these changes what it covers, and the
    conversation's record does not know of it yet."""
    summary = standing.summary
    first = next((turn for turn in turns if turn.revision > standing.revision), None)
    if summary is None or first is None:
        return summary
    # Where not even the first of them is the one that rewrites, that one is before all of them.
    return summary if first.rewrites and summary.upto <= kept_by(first) else None


def _count(turns: list[Turn]) -> int:
    return sum(len(messages_of(turn)) for turn in turns)
