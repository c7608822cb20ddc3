"""Where a log begins: what the permanent store says has happened, and what is being said here."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

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


class SoFar(NamedTuple):
    """What was told of an attempt up to one moment."""

    attempt: int
    text: str
    next_index: int
    """Of its deltas."""
    tools: list[dict[str, Any]]
    """What was told last of each use."""
    next_tool: int
    """How often something was."""


class Said(Protocol):
    """What this server has said of a turn that it answers; None for one that it does not."""

    def __call__(self, turn_id: str) -> SoFar | None: ...


def nothing_said(turn_id: str) -> SoFar | None:
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
        if turn.status != "running":
            return LiveTurn(turn.id, turn.n, turn.place, "queued")
        said = self._said(turn.id)
        heard = earlier.live.get(turn.id) if earlier is not None else None
        if said is not None and said.attempt == turn.attempt:
            _, text, index, tools, next_tool = said
            so_far = ([text], index, tools, next_tool)
            return LiveTurn(turn.id, turn.n, turn.place, "running", turn.attempt, *so_far)
        if heard is not None and (heard.status, heard.attempt) == ("running", turn.attempt):
            live = heard.copy()
            live.n, live.place = turn.n, turn.place
            return live
        return LiveTurn(turn.id, turn.n, turn.place, "running", turn.attempt)
