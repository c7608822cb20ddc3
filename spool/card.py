"""What is known of one conversation: a card."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from memory.records import ENDED, Conversation, Turn, current


class Card(msgspec.Struct, frozen=True):
    conversation: Conversation
    turns: list[Turn]
    """Ascending: the open ones, the last closed one, and what else this process has seen of it."""
    last: int = 0
    """The number of the last closed turn; 0 where nothing is known of one."""
    shared: bool = False
    """Whether Redis has it, and all that is known here, so that all servers have had a part in
    it."""
    waited: frozenset[str] = frozenset()
    """Of the latest turns, those that were accepted to wait."""
    superseded: frozenset[str] = frozenset()
    """Turns that do not stand in it any more; the latest ones."""
    made: bool = False
    """Whether the permanent store does not know the conversation yet."""

    @property
    def open(self) -> list[Turn]:
        return open_of(self.turns)


def ascending(turns: Iterable[Turn]) -> list[Turn]:
    return sorted(turns, key=lambda turn: turn.n)


def open_of(turns: Collection[Turn]) -> list[Turn]:
    """Those that are open indeed: turns run in order, so what stands before one that has run is
    closed, whatever was last noted of it. The note of its end may have been lost with Redis. And an
    edit on another server may have superseded some."""
    ran = max((turn.n for turn in turns if turn.attempt), default=0)
    return [turn for turn in current(turns) if turn.open and turn.n >= ran]


def progress(turn: Turn) -> tuple[bool, bool, int]:
    """How far it has come; comparable."""
    return not turn.open, turn.status in ENDED, turn.attempt
