"""A conversation at rest, read from memory while its next message is being stored.

What it was then and the message are what there is to answer, if nothing came in between; and that
the store has proved where it has taken the message for the very next one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from memory.errors import RememberingError
from memory.records import Message, Position, Transcript, Turn, question_of
from stores.contract import Rest


class ReadingMemory(Protocol):
    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript: ...

    def continued(
        self, transcript: Transcript, message: Message, position: Position
    ) -> Transcript | None: ...


NEW = Rest(n=0, place=0, revision=0, answers=0)
"""Of a conversation that was begun just now."""


class ReadAhead:
    """``with_question`` gives what came of it."""

    def __init__(self, memory: ReadingMemory, conversation_id: str, rest: Rest | None) -> None:
        """``rest`` is where it came to rest, as far as is known here."""
        self._memory = memory
        self._rest = rest
        self._stood = Position()
        self._reading: asyncio.Future[Transcript] | None = None
        if rest is not None and rest is not NEW and rest.answers is not None:
            self._stood = Position(revision=rest.revision, turn=rest.place, answers=rest.answers)
            reading = memory.read(conversation_id, at_least=self._stood)
            self._reading = asyncio.ensure_future(reading)
            self._reading.add_done_callback(_seen)

    async def with_question(self, turn: Turn) -> Transcript | None:
        """None where it can't be read, or more may have happened than that."""
        rest = self._rest
        if rest is None or (rest.n + 1, rest.place + 1, rest.revision) != (
            turn.n,
            turn.place,
            turn.revision,
        ):
            return None
        transcript = Transcript(messages=[])
        if rest is not NEW:
            if self._reading is None:
                return None
            try:
                transcript = await self._reading
            except RememberingError:
                return None
        if transcript.position != self._stood or not transcript.whole:
            return None
        position = Position(revision=turn.revision, turn=turn.place)
        return self._memory.continued(transcript, question_of(turn), position)

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._reading is not None:
            self._reading.cancel()


def _seen(reading: asyncio.Future[Transcript]) -> None:
    if not reading.cancelled():
        reading.exception()  # whoever needs it reads it again
