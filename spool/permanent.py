"""What the spool asks of the permanent store, besides what every server asks of a store."""

from __future__ import annotations

from typing import Any, Protocol

from memory.records import Turn
from stores.contract import Store, TurnStore


class PermanentTurns(TurnStore, Protocol):
    async def take_in(
        self, turn: Turn, *, lease_ms: int, context: dict[str, Any] | None = None
    ) -> Turn | None:
        """Keep the turn as it is; or where its id is kept already, and has not ended, bring that to
        where it is. As it is then kept; None where that one went on otherwise.

        Raises ``Duplicate`` as ``insert`` does. Harmless when repeated.
        """
        ...

    async def recount(self, conversation_id: str) -> bool:
        """Mend the turns' counts of answers, where one was taken in before others; whether there
        was anything to mend."""
        ...


class Permanent(Store, Protocol):
    @property
    def away(self) -> bool:
        """True from the moment it is found to be away: then it answers nothing."""
        ...

    @property
    def turns(self) -> PermanentTurns: ...
