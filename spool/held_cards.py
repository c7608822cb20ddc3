"""The cards that this process holds, within so many bytes."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from memory.records import Conversation, Turn

MAX_BYTES = 32 * 1024 * 1024
MAX_TURNS = 26
"""Of a conversation: those of the last 50 messages, and one."""
ANSWERED_SECONDS = 3_600
"""Nothing is answered for so long: it has ended on another server, and was not noted here."""

_CARD_OVERHEAD = 1_500
_TURN_OVERHEAD = 1_500
_ID_OVERHEAD = 200


class HeldCard:
    """Of a conversation, what was noted here."""

    __slots__ = ("about", "noted_at", "size", "superseded", "turns")

    def __init__(self) -> None:
        self.about: Conversation | None = None
        self.turns: dict[str, Turn] = {}
        self.superseded: dict[int, str] = {}
        """Ids by number."""
        self.noted_at = 0.0
        self.size = 0

    @property
    def is_answered(self) -> bool:
        return any(turn.open for turn in self.turns.values())

    @property
    def weighed(self) -> int:
        ids = _ID_OVERHEAD * len(self.superseded)
        return _CARD_OVERHEAD + sum(map(_size, self.turns.values())) + ids


class HeldCards:
    def __init__(self, max_bytes: int, dropped: Callable[[str], None]) -> None:
        """``dropped`` is called with each conversation of which nothing is held any more."""
        self._dropped = dropped
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, HeldCard] = OrderedDict()
        """The one noted longest ago first."""
        self._quiet: OrderedDict[str, None] = OrderedDict()
        """Those of them in which nothing is open; in the same order."""
        self.bytes = 0
        """What they take, about."""
        self._conversations: dict[str, str] = {}
        """Of each open turn that was noted here."""

    def get(self, conversation_id: str) -> HeldCard | None:
        return self._held.get(conversation_id)

    def conversation_of(self, turn_id: str) -> str | None:
        """Of a turn that is open, as far as is known here."""
        return self._conversations.get(turn_id)

    def note(
        self, conversation_id: str, conversation: Conversation | None, turn: Turn | None
    ) -> None:
        held = self._taken_out(conversation_id)
        if conversation is not None:
            held.about = conversation
        if turn is not None:
            held.turns[turn.id] = turn
            if turn.open:
                self._conversations[turn.id] = conversation_id
            else:
                self._conversations.pop(turn.id, None)
            while len(held.turns) > MAX_TURNS:
                earliest = min(held.turns.values(), key=lambda each: (each.open, each.n))
                self._let_go(held, earliest)
        self._put(conversation_id, held)

    def begin_anew(self, conversation_id: str, superseded: Mapping[int, str]) -> None:
        """Nothing is known of it but the turns that do not stand in it any more."""
        self.drop(conversation_id)
        held = HeldCard()
        held.superseded = dict(superseded)
        self._put(conversation_id, held)

    def _taken_out(self, conversation_id: str) -> HeldCard:
        held = self._held.pop(conversation_id, None) or HeldCard()
        self.bytes -= held.size
        return held

    def _put(self, conversation_id: str, held: HeldCard) -> None:
        """As the one that was noted latest."""
        self._held[conversation_id] = held
        held.noted_at = time.monotonic()
        held.size = held.weighed
        self.bytes += held.size
        self._quiet.pop(conversation_id, None)
        if not held.is_answered:
            self._quiet[conversation_id] = None
        while self.bytes > self._max_bytes and len(self._held) > 1:
            self._make_room()

    def _make_room(self) -> None:
        """What is answered here is kept in mind the longest, and of that only what is open."""
        conversation_id, held = next(iter(self._held.items()))
        if self._quiet and time.monotonic() - held.noted_at < ANSWERED_SECONDS:
            self.drop(next(iter(self._quiet)))
            return
        closed = [turn for turn in held.turns.values() if not turn.open]
        if not closed or not held.is_answered:
            self.drop(conversation_id)
            return
        for turn in closed:
            del held.turns[turn.id]
        self.bytes -= held.size
        held.size = held.weighed
        self.bytes += held.size
        self._held.move_to_end(conversation_id)

    def _let_go(self, held: HeldCard, turn: Turn) -> None:
        del held.turns[turn.id]
        self._conversations.pop(turn.id, None)

    def drop(self, conversation_id: str) -> None:
        held = self._held.pop(conversation_id, None)
        if held is None:
            return
        self._quiet.pop(conversation_id, None)
        self.bytes -= held.size
        for turn_id in held.turns:
            self._conversations.pop(turn_id, None)
        self._dropped(conversation_id)


def _size(turn: Turn) -> int:
    # A text with an emoji takes four bytes a character.
    answer = 0 if turn.answer is None else sys.getsizeof(turn.answer.content)
    tools = sum(_TURN_OVERHEAD + sys.getsizeof(use.output or "") for use in turn.tools)
    return _TURN_OVERHEAD + sys.getsizeof(turn.question.content) + answer + tools
