"""Users who had all that is theirs deleted: a row each, until that is done."""

from __future__ import annotations

from embedded.database import Database, Transaction
from stores.erasures import Erasure
from stores.rules import require_text

BEGIN = """
    INSERT INTO erasures (user, at) VALUES (:user, :at)
    ON CONFLICT (user) DO UPDATE SET at = max(at, :at)
"""
OF = "SELECT user, at FROM erasures WHERE user = :user"
UNFINISHED = "SELECT user, at FROM erasures WHERE at > 0 ORDER BY at LIMIT :limit"
DONE = "DELETE FROM erasures WHERE user = :user AND at = :at"


class EmbeddedErasures:
    """``stores.erasures.ErasureStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, erasure: Erasure) -> None:
        await self._write(BEGIN, erasure)

    async def of(self, user_id: str) -> Erasure | None:
        found = await self._database.row(OF, {"user": user_id})
        return None if found is None else Erasure(found["user"], found["at"])

    async def unfinished(self, limit: int) -> list[Erasure]:
        found = await self._database.rows(UNFINISHED, {"limit": limit})
        return [Erasure(row["user"], row["at"]) for row in found]

    async def done(self, erasure: Erasure) -> None:
        await self._write(DONE, erasure)

    async def _write(self, statement: str, erasure: Erasure) -> None:
        require_text(erasure.user_id)

        async def work(transaction: Transaction) -> None:
            await transaction.change(statement, {"user": erasure.user_id, "at": erasure.at})

        await self._database.write(work)
