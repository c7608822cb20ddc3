"""A conversation at rest, read from memory while its next message is being stored.

What it was then and the message are what there is to answer, if nothing came in between; and that
the store has proved where it has taken the message for the very next one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from memory.records import Message, Position, Transcript, Turn, question_of
from server.tasks import Tasks
from stores.contract import Rest


class ReadingMemory(Protocol):
    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...

    def continued(
        self, transcript: Transcript, message: Message, position: Position
    ) -> Transcript | None: ...


NEW = Rest(n=0, place=0, revision=0, answers=0)
"""Of a conversation that was begun just now."""

PATIENCE_SECONDS = 0.1
"""It has had as long as the message took to be stored. Where that was not enough it is no gain."""


class ReadAhead:
    """``with_question`` gives what came of it."""

    def __init__(
        self, memory: ReadingMemory, conversation_id: str, rest: Rest | None, tasks: Tasks
    ) -> None:
        """``rest`` is where it came to rest, as far as is known here."""
        self._memory = memory
        self._rest = rest if rest is not None and rest.answers is not None else None
        self._reading: asyncio.Task[Transcript | None] | None = None
        if self._rest is not None and rest is not NEW:
            reading = self._read(conversation_id, self._rest)
            self._reading = tasks.start(reading, f"read ahead {conversation_id}")

    async def _read(self, conversation_id: str, rest: Rest) -> Transcript | None:
        try:
            return await self._memory.read(conversation_id, at_least=_stood(rest))
        except Exception:  # noqa: BLE001  # who answers reads it again, and tells what is wrong
            return None

    async def with_question(self, turn: Turn) -> Transcript | None:
        """None where it can't be read, not soon, or more may have happened than that."""
        rest = self._followed_by(turn)
        if rest is None:
            return None
        transcript: Transcript | None = Transcript(messages=[])
        if self._reading is not None:
            if not self._reading.done():
                await asyncio.wait({self._reading}, timeout=PATIENCE_SECONDS)
            transcript = self._reading.result() if self._reading.done() else None
        if transcript is None or not transcript.whole:
            return None
        stood, position = _stood(rest), Position(revision=turn.revision, turn=turn.place)
        if transcript.position == msgspec.structs.replace(position, answers=stood.answers):
            return transcript  # read after the message was there, by where it is kept
        if transcript.position != stood:
            return None
        return self._memory.continued(transcript, question_of(turn), position)

    def answers_before(self, turn: Turn) -> int:
        """How many there are, at least."""
        rest = self._followed_by(turn)
        return (rest.answers or 0) if rest is not None else 0

    def _followed_by(self, turn: Turn) -> Rest | None:
        """Where it rested, if this turn came next."""
        rest = self._rest
        if rest is None or (rest.n + 1, rest.place + 1) != (turn.n, turn.place):
            return None
        return rest if rest.revision == turn.revision else None


def _stood(rest: Rest) -> Position:
    return Position(revision=rest.revision, turn=rest.place, answers=rest.answers or 0)
