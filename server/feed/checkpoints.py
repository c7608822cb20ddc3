"""Where a log begins: what the permanent store says has happened, and what is being said here."""

from __future__ import annotations

from typing import Protocol

from memory.errors import Unavailable
from memory.records import ENDED, Position, Transcript, Turn, current
from server.feed.log import Checkpoint, LiveTurn, Log

MOST_READS = 20
"""Of a conversation that is edited while it is read."""


class Turns(Protocol):
    async def get(self, conversation_id: str, turn_id: str) -> Turn | None: ...

    async def last(self, conversation_id: str) -> Turn | None: ...

    async def open_turns(self, conversation_id: str) -> list[Turn]: ...


class Store(Protocol):
    """What a new log asks of the permanent store."""

    async def load(self, conversation_id: str, max_messages: int) -> Transcript: ...

    @property
    def turns(self) -> Turns: ...


class Said(Protocol):
    """What this server has said of a turn that it answers: the attempt, the text and the index of
    the next delta. None for a turn that it does not answer."""

    def __call__(self, turn_id: str) -> tuple[int, str, int] | None: ...


def nothing_said(turn_id: str) -> tuple[int, str, int] | None:
    """Of a server that answers nothing."""
    return None


class Checkpoints:
    def __init__(self, store: Store, said: Said = nothing_said) -> None:
        self.turns = store.turns
        self._store = store
        self._said = said

    async def read(self, conversation_id: str, earlier: Log | None = None) -> Checkpoint:
        """The checkpoint of now. ``earlier`` may have heard what an answer has said elsewhere.

        Raises ``Unavailable``, and ``NotFound`` when the conversation is deleted or never was.
        """
        for _ in range(MOST_READS):
            # The last turn first: one that comes in between is then announced by an event, and not
            # taken for announced.
            last = await self.turns.last(conversation_id)
            position = (await self._store.load(conversation_id, 1)).position
            if last is None:
                return Checkpoint(0, Position(), [])
            if position.revision == last.revision:
                break
        else:
            raise Unavailable("The conversation changes too quickly to be shown.")
        answers = position.answers
        live = []
        for turn in current(await self.turns.open_turns(conversation_id)):
            if turn.n > last.n:
                continue
            if turn.status not in ENDED:
                live.append(self._live(turn, earlier))
            elif (turn.answers or 0) > answers:
                # It ended after the position was read, and is not told as an event any more.
                answers = turn.answers or 0
        position = Position(revision=last.revision, turn=last.place, answers=answers)
        return Checkpoint(last.n, position, live)

    def _live(self, turn: Turn, earlier: Log | None) -> LiveTurn:
        live = LiveTurn(turn.id, turn.n, turn.place)
        if turn.status != "running":
            live.status = "queued"
            return live
        live.status, live.attempt = "running", turn.attempt
        said = self._said(turn.id)
        heard = earlier.live.get(turn.id) if earlier is not None else None
        if said is not None and said[0] == turn.attempt:
            live.text, live.next_index, live.size = [said[1]], said[2], len(said[1])
        elif heard is not None and (heard.status, heard.attempt) == ("running", turn.attempt):
            live.text, live.next_index, live.size = list(heard.text), heard.next_index, heard.size
        return live
