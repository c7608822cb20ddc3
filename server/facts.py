"""What is remembered of people, kept in mind for the prompts of this server, and told to whoever
looks at it.

A prompt may be made from what was so a moment ago, up to ``MIND_SECONDS`` where a signal was lost;
but never from what an edit of the same conversation has taken back: that is read anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from memory.facts import Fact, Remembered, best_first
from memory.records import Position
from stores.facts import FactStore

MIND_SECONDS = 20.0
MAX_USERS_IN_MIND = 500

# More than any prompt has room for.
MAX_FACTS_IN_MIND = 100

Positions = Callable[[Collection[str]], Awaitable[Mapping[str, Position]]]


class _Known(msgspec.Struct):
    facts: list[Fact]
    until: float
    revisions: dict[str, int]
    """Of conversations, as they were when this was read."""


class Facts:
    """``agent.facts.PersonMemory``. Owned by the event loop."""

    def __init__(self, store: FactStore, positions: Positions, *, enabled: bool) -> None:
        self.enabled = enabled
        """Whether anything is noted, and given to the model. What is there can be listed, corrected
        and deleted in any case."""
        self._store = store
        self._positions = positions
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._changes = 0
        self.tell: Callable[[str], None] = _nobody
        """Tells this user's connections, and the other servers, that something has changed."""
        store.listen(self._changed)

    async def of(self, user_id: str) -> Remembered:
        return await self._store.of(user_id)

    async def keep(self, user_id: str, remembered: Remembered, *, over: str) -> bool:
        return await self._store.keep(user_id, remembered, over=over)

    async def forget(self, user_id: str, *, over: str) -> None:
        await self._store.forget(user_id, over=over)

    async def position(self, conversation_id: str) -> Position | None:
        return (await self._positions([conversation_id])).get(conversation_id)

    async def known(self, user_id: str, conversation_id: str, revision: int) -> list[Fact]:
        known = self._known.get(user_id)
        if known is None or time.monotonic() > known.until:
            known = await self._read(user_id, {})
        elif known.revisions.get(conversation_id, 0) < revision:
            known = await self._read(user_id, known.revisions)
        known.revisions[conversation_id] = revision
        return known.facts

    async def _read(self, user_id: str, revisions: dict[str, int]) -> _Known:
        changes = self._changes
        facts = best_first((await self._store.of(user_id)).facts)[:MAX_FACTS_IN_MIND]
        slim = [msgspec.structs.replace(fact, sources=[]) for fact in facts]
        known = _Known(slim, time.monotonic() + MIND_SECONDS, revisions)
        if changes == self._changes:  # else this may be from before it
            self._known[user_id] = known
            self._known.move_to_end(user_id)
            if len(self._known) > MAX_USERS_IN_MIND:
                self._known.popitem(last=False)
        return known

    def drop(self, user_id: str) -> None:
        """Another server has changed it."""
        self._changes += 1
        self._known.pop(user_id, None)

    def _changed(self, user_id: str) -> None:
        self.drop(user_id)
        self.tell(user_id)


def _nobody(user_id: str) -> None:
    """There is no server yet."""
