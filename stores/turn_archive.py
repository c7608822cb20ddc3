"""An archive over conversations and turns: the part that both permanent stores have in common."""

from __future__ import annotations

from typing import Protocol

import msgspec

from memory.errors import NotFound
from memory.records import Message, Position, Summary, Transcript, Turn, messages_of


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
    async def before(self, conversation_id: str, number: int | None, limit: int) -> list[Turn]:
        """Up to ``limit`` turns with a smaller number (None: the latest), ascending."""
        ...

    async def since(self, conversation_id: str, number: int, limit: int) -> list[Turn]:
        """Up to ``limit`` turns from this number on, ascending."""
        ...

    async def answers_before(self, conversation_id: str, number: int) -> int:
        """How many answers the turns with a smaller number have."""
        ...


class TurnArchive:
    """``memory.archive.Archive`` for a store that has conversations and turns."""

    def __init__(self, conversations: ConversationSource, turns: TurnSource) -> None:
        self._conversation_source = conversations
        self._turn_source = turns

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        standing = await self._conversation_source.standing(conversation_id)
        turns = await self._latest(conversation_id, max_messages)
        messages = [message for turn in turns for message in messages_of(turn)]
        return Transcript(
            messages=messages[max(0, len(messages) - max_messages) :],
            summary=standing.summary,
            position=Position(
                revision=standing.revision,
                turn=turns[-1].n if turns else 0,
                answers=await self._answers(conversation_id, turns),
            ),
        )

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        try:
            await self._conversation_source.standing(conversation_id)
        except NotFound:
            return []  # its turns may not be purged yet, but nobody may read them any more
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
        """Turns that hold at least the last ``max_messages`` messages, read at one moment."""
        likely = max_messages // 2 + 1
        turns = await self._turn_source.before(conversation_id, None, likely)
        if len(turns) == likely and sum(len(messages_of(t)) for t in turns) < max_messages:
            # Many turns without an answer. Read anew, not on: one read is one moment.
            turns = await self._turn_source.before(conversation_id, None, max_messages)
        return turns

    async def _answers(self, conversation_id: str, turns: list[Turn]) -> int:
        """Turns are answered in order, so the latest count among them is the conversation's."""
        for turn in reversed(turns):
            if turn.answers is not None:
                return turn.answers
        return await self._turn_source.answers_before(conversation_id, turns[0].n) if turns else 0
