"""Users who had all that is theirs deleted, for as long as that is not done."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Erasure(msgspec.Struct, frozen=True):
    user_id: str
    at: int
    """What was there at this moment goes, by the servers' clocks."""


class ErasureStore(Protocol):
    """As ``stores.contract`` has it."""

    async def begin(self, erasure: Erasure) -> None:
        """From now on it is to be done, whoever dies. A later one takes an earlier one's place."""
        ...

    async def of(self, user_id: str) -> Erasure | None:
        """The one that is under way."""
        ...

    async def unfinished(self, limit: int) -> list[Erasure]:
        """The oldest first."""
        ...

    async def done(self, erasure: Erasure) -> None:
        """It is, unless a later one took its place."""
        ...
