"""Where conversations came to rest: what this process saw last of those it has answered."""

from __future__ import annotations

from collections import OrderedDict

from memory.records import Turn
from stores.contract import Rest

# Beyond it those that came to rest longest ago are forgotten; half a kilobyte each.
MAX_RESTING = 10_000


class Resting:
    """Never wrong about the turn it names; only whether that is still the last one it can't say.

    Races: a turn is closed, and another opens while it is looked whether any is open. That one has
    a later number, which the next insert collides with. And a look that began before the turn was
    closed may have missed an earlier one: it ``rests`` only by a look that began after it. Where
    the turn has run here, no look is needed, nor that it is closed: all earlier ones had ended.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, Rest] = OrderedDict()
        self._at_rest: set[str] = set()

    def closed(self, turn: Turn) -> None:
        known = self._last.pop(turn.conversation_id, None)
        last = Rest(turn.n, turn.place, turn.revision, turn.answers)
        # One that was stopped while it waited is closed before those that it waited for.
        self._last[turn.conversation_id] = known if known and known.n > last.n else last
        while len(self._last) > MAX_RESTING:
            self.forget(next(iter(self._last)))

    def comes_to_rest(self, turn: Turn) -> None:
        """See ``TurnStore``."""
        self.closed(turn)
        self._at_rest.add(turn.conversation_id)

    def last_closed(self, conversation_id: str) -> Rest | None:
        return self._last.get(conversation_id)

    def rests(self, conversation_id: str, last: Rest) -> None:
        """Nothing was open; ``last`` was the last one closed before that was looked at."""
        if self._last.get(conversation_id) is last:
            self._at_rest.add(conversation_id)

    def at(self, conversation_id: str) -> Rest | None:
        return self._last[conversation_id] if conversation_id in self._at_rest else None

    def goes_on(self, conversation_id: str) -> None:
        self._at_rest.discard(conversation_id)

    def answers_before(self, turn: Turn) -> int | None:
        """How many answers there were before ``turn``, where it came right after the last closed
        one. If that has been superseded by now, so has ``turn``, whose place is a later one."""
        last = self._last.get(turn.conversation_id)
        if last is None or (last.n + 1, last.place + 1) != (turn.n, turn.place):
            return None
        return last.answers

    def forget(self, conversation_id: str) -> None:
        self._last.pop(conversation_id, None)
        self._at_rest.discard(conversation_id)
