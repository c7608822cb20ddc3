"""What is remembered of people, for good: a row each."""

from __future__ import annotations

import sqlite3

import msgspec

from embedded.database import Database, Parameters, Transaction
from embedded.rows import as_json
from memory.facts import Remembered
from stores.facts import Told
from stores.rules import require_text

OF = "SELECT * FROM facts WHERE user = :user"
MAKE = """
    INSERT INTO facts (user, stamp, kept) VALUES (:user, :stamp, :kept)
    ON CONFLICT (user) DO NOTHING
"""
KEEP = "UPDATE facts SET stamp = :stamp, kept = :kept WHERE user = :user AND stamp = :over"
FORGET = "DELETE FROM facts WHERE user = :user AND stamp = :over"


class EmbeddedFacts(Told):
    """``stores.facts.FactStore``."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    async def of(self, user_id: str) -> Remembered:
        return _record(await self._database.row(OF, {"user": user_id}))

    async def keep(self, user_id: str, remembered: Remembered, *, over: str) -> bool:
        require_text(user_id, *(fact.text for fact in remembered.facts))
        kept = as_json(remembered)
        parameters: Parameters = {"user": user_id, "stamp": remembered.stamp, "kept": kept}

        async def work(transaction: Transaction) -> Remembered | None:
            """What was kept before; None where this is not kept."""
            before = await transaction.row(OF, {"user": user_id})
            sql, more = (KEEP, {"over": over}) if over else (MAKE, {})
            if await transaction.change(sql, {**parameters, **more}):
                return _record(before)
            # It may be this very one, kept by a call whose reply was lost.
            is_kept = before is not None and before["stamp"] == remembered.stamp
            return _record(None) if is_kept else None

        before = await self._database.write(work)
        if before is None:
            return False
        self.tell(user_id, before, remembered)
        await self._clean(before, remembered)
        return True

    async def forget(self, user_id: str, *, over: str | None = None) -> None:
        async def work(transaction: Transaction) -> Remembered:
            found = _record(await transaction.row(OF, {"user": user_id}))
            stamp = found.stamp if over is None else over
            gone = await transaction.change(FORGET, {"user": user_id, "over": stamp})
            return found if gone else Remembered()

        before = await self._database.write(work)
        self.tell(user_id, before, Remembered())
        await self._clean(before, Remembered())

    async def _clean(self, before: Remembered, after: Remembered) -> None:
        """What is not remembered any more is not to be in the file's log either."""
        stay = {fact.text for fact in after.facts}
        if any(fact.text not in stay for fact in before.facts):
            await self._database.empty_log()


def _record(row: sqlite3.Row | None) -> Remembered:
    if row is None:
        return Remembered()
    return msgspec.json.decode(row["kept"], type=Remembered)
