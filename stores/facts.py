"""What is remembered of people, kept for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from memory.errors import Unavailable
from memory.facts import Remembered
from memory.records import Turn

Changed = Callable[[str], None]

# Each is another change within the few milliseconds between two operations.
MOST_TRIES = 20


class FactStore(Protocol):
    """As ``stores.contract`` has it. Besides what is asked of it here, what is remembered follows
    when a conversation is purged (``without_conversation``), and when a turn supersedes others
    (``without_superseded``)."""

    async def of(self, user_id: str) -> Remembered: ...

    async def keep(self, user_id: str, remembered: Remembered, *, over: str) -> bool:
        """Keep it in the place of the one with the stamp ``over``; "" where there was none. False
        where that is not what is there."""
        ...

    async def forget(self, user_id: str, *, over: str | None = None) -> None:
        """Remove all that is kept of this user; with ``over``, only what has that stamp."""
        ...

    def listen(self, changed: Changed) -> None:
        """From now on ``changed`` is called, in the event loop, with the user of whom something
        else is remembered since a call to this store. It must not raise."""
        ...


async def change(
    store: FactStore, user_id: str, how: Callable[[Remembered], Remembered | None]
) -> Remembered | None:
    """Change what is kept by ``how``, which may be asked again, and gives None where there is
    nothing to change. What is kept then. What ``how`` raises is raised."""
    for _ in range(MOST_TRIES):
        known = await store.of(user_id)
        wanted = how(known)
        if wanted is None or await store.keep(user_id, wanted, over=known.stamp):
            return wanted
    raise Unavailable("What is remembered of this user changes too quickly.")


async def forget_conversation(store: FactStore, user_id: str, conversation_id: str) -> None:
    """The conversation was deleted. Harmless when repeated."""
    await change(
        store,
        user_id,
        lambda known: known.without_conversation(conversation_id) if known.stamp else None,
    )


async def forget_superseded(store: FactStore, turn: Turn) -> None:
    """A rewriting turn has superseded others. Harmless when repeated."""
    await change(
        store,
        turn.user_id,
        lambda known: known.without_superseded(turn) if known.stamp else None,
    )


class Told:
    """Calls who listens where the facts themselves have changed; not for what was only read."""

    def __init__(self) -> None:
        self._changed: Changed | None = None

    def listen(self, changed: Changed) -> None:
        self._changed = changed

    def tell(self, user_id: str, before: Remembered, after: Remembered) -> None:
        if self._changed is not None and before.facts != after.facts:
            self._changed(user_id)
