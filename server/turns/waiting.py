"""The turns that wait at this server, and how many one user has among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from memory.records import Turn
from server.errors import Busy


class Joining:
    """A turn that is about to wait here, or not."""

    def __init__(self, waiting: Waiting, user_id: str) -> None:
        self._waiting = waiting
        self._user_id = user_id
        self._has_place = False

    def take_place(self) -> None:
        """Harmless when repeated. Raises ``Busy``."""
        if not self._has_place:
            self._waiting.require_room(self._user_id)
            self._waiting.count(self._user_id, 1)
            self._has_place = True

    def give_back(self) -> None:
        if self._has_place:
            self._waiting.count(self._user_id, -1)
            self._has_place = False


class Waiting:
    """``max_per_user`` 0 is no limit. It is asked of new turns only: what waits already is kept."""

    def __init__(self, max_per_user: int = 0) -> None:
        self._max_per_user = max_per_user
        self._turns: dict[str, Turn] = {}
        self._per_user: Counter[str] = Counter()
        """With those that are about to wait."""

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Turn]:
        return iter(list(self._turns.values()))

    def __contains__(self, turn_id: str) -> bool:
        return turn_id in self._turns

    @property
    def by_id(self) -> Mapping[str, Turn]:
        return self._turns

    def of(self, conversation_id: str) -> list[str]:
        """The ids of a conversation's turns."""
        return [turn.id for turn in self if turn.conversation_id == conversation_id]

    @contextmanager
    def joining(self, user_id: str) -> Iterator[Joining]:
        """While a new turn is stored: two at once must not take the same last place. By the end it
        has been added, or does not wait."""
        joining = Joining(self, user_id)
        try:
            yield joining
        finally:
            joining.give_back()

    def require_room(self, user_id: str) -> None:
        """For one more of this user's. Raises ``Busy``."""
        if self._max_per_user and self._per_user[user_id] >= self._max_per_user:
            raise Busy("Too many of your messages are waiting for an answer.")

    def count(self, user_id: str, change: int) -> None:
        self._per_user[user_id] += change
        if not self._per_user[user_id]:
            del self._per_user[user_id]

    def add(self, turn: Turn) -> None:
        if turn.id not in self._turns:
            self.count(turn.user_id, 1)
        self._turns[turn.id] = turn

    def remove(self, turn_id: str) -> None:
        """Harmless where it does not wait here."""
        turn = self._turns.pop(turn_id, None)
        if turn is not None:
            self.count(turn.user_id, -1)

    def clear(self) -> None:
        for turn_id in list(self._turns):
            self.remove(turn_id)
