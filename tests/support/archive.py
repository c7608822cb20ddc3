"""A small permanent store in memory, for tests of the conversation memory in front of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from memory.errors import NotFound, Unavailable
from memory.records import Message, Position, Summary, Transcript


class _Kept:
    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.summary: Summary | None = None
        self.revision = 0
        self.is_deleted = False

    def position(self) -> Position:
        questions = [seq for seq in self.messages if seq % 2]
        return Position(
            revision=self.revision,
            turn=(max(questions, default=0) + 1) // 2,
            answers=len(self.messages) - len(questions),
        )


class ArchiveInMemory:
    """Implements ``Archive``. ``hold`` stops loads once they have read, until ``let_go``."""

    def __init__(self) -> None:
        self.is_away = False
        self.loads = 0
        self.waiting = 0
        self._kept: dict[str, _Kept] = defaultdict(_Kept)
        self._gate = asyncio.Event()
        self._gate.set()

    # What the server would write

    def ask(self, conversation_id: str, text: str = "?") -> tuple[Message, Position]:
        """Keep the next question: it, and where the conversation stands with it."""
        kept = self._kept[conversation_id]
        seq = 2 * kept.position().turn + 1
        return self._keep(conversation_id, seq, "human", text)

    def answer(self, conversation_id: str, n: int, text: str = "!") -> tuple[Message, Position]:
        """Keep the answer to the n-th question."""
        return self._keep(conversation_id, 2 * n, "ai", text)

    def fill(self, conversation_id: str, turns: int) -> Position:
        for _ in range(turns):
            question, _position = self.ask(conversation_id)
            assert question.seq is not None
            self.answer(conversation_id, (question.seq + 1) // 2)
        return self._kept[conversation_id].position()

    def rewrite(self, conversation_id: str) -> Position:
        """An edit: the last turn is another one now, of a new revision."""
        kept = self._kept[conversation_id]
        kept.revision += 1
        turn = kept.position().turn
        for seq in (2 * turn - 1, 2 * turn):
            kept.messages.pop(seq, None)
        question, position = self.ask(conversation_id, f"rewritten {kept.revision}")
        assert question.seq is not None
        return position

    def delete(self, conversation_id: str) -> None:
        self._kept[conversation_id] = _Kept()
        self._kept[conversation_id].is_deleted = True

    def position(self, conversation_id: str) -> Position:
        return self._kept[conversation_id].position()

    def messages(self, conversation_id: str) -> list[Message]:
        return [message for _, message in sorted(self._kept[conversation_id].messages.items())]

    def hold(self) -> None:
        self._gate.clear()

    def let_go(self) -> None:
        self._gate.set()

    # Archive

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        self._check()
        kept = self._kept.get(conversation_id)
        if kept is None or kept.is_deleted:
            raise NotFound
        self.loads += 1
        transcript = Transcript(
            messages=self.messages(conversation_id)[-max_messages:],
            summary=kept.summary,
            position=kept.position(),
        )
        self.waiting += 1
        try:
            await self._gate.wait()
        finally:
            self.waiting -= 1
        return transcript

    async def messages_after(self, conversation_id: str, seq: int, limit: int) -> list[Message]:
        self._check()
        later = [m for m in self.messages(conversation_id) if m.seq is not None and m.seq > seq]
        return later[:limit]

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        self._check()
        kept = self._kept[conversation_id]
        version = kept.summary.version if kept.summary else 0
        if kept.revision != revision or summary.version != version + 1:
            return False
        kept.summary = summary
        return True

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable

    def _keep(
        self, conversation_id: str, seq: int, kind: str, text: str
    ) -> tuple[Message, Position]:
        kept = self._kept[conversation_id]
        message = Message(
            id=f"{conversation_id}/{kept.revision}/{seq}",
            seq=seq,
            type="human" if kind == "human" else "ai",
            content=f"{text} {seq}",
            created_at=1_700_000_000_000 + seq,
        )
        kept.messages[seq] = message
        return message, kept.position()
