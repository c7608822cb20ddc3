"""How many tokens were used, out of the turns and of what purges kept."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import msgspec
from pymongo.errors import DuplicateKeyError

from mongo.client import Connection
from mongo.collections import ALIVE, Document
from stores.usage import DAY_MS, Days, Used, by_day, together

# Conversations whose turns are read at a time, so that no single operation outlasts its time.
READ_TOGETHER = 100
# And turns, so that nobody waits long for the interpreter.
TURNS_TOGETHER = 1_000

# Days for which what servers noted is still asked for: today, and yesterday by a server whose
# clock is behind.
KEPT_DAYS = 2


class MongoUsage:
    """``stores.usage.UsageStore``, and what a purge asks of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_user(self, user_id: str, since: int) -> Days:
        active: Document = {"user": user_id, **ALIVE, "updated_at": {"$gte": since * DAY_MS}}
        async with self._connection.operation() as collections:
            found = await collections.conversations.find(active, {"_id": 1}).to_list()
            # Deleted, and perhaps not kept yet.
            half_gone = collections.conversations.find(
                {"purged": False, "user": user_id}, {"_id": 1}
            )
            found += await half_gone.sort("deleted_at").to_list()
        days = await self._of(sorted({document["_id"] for document in found}), since)
        kept = {"user": user_id, "last_day": {"$gte": since}}
        async with self._connection.operation() as collections:
            for document in await collections.usage.find(kept).to_list():
                days[document["_id"]] = _days(document["days"])
        return together(days.values(), since=since)

    async def of_conversation(self, conversation_id: str, since: int) -> Days:
        return together((await self._of([conversation_id], since)).values(), since=since)

    async def _of(self, conversation_ids: Collection[str], since: int) -> dict[str, Days]:
        ids = list(conversation_ids)
        fields = {"conversation": 1, "created_at": 1, "answer.usage": 1}
        told: dict[str, list[tuple[int, str | None]]] = {}
        for first in range(0, len(ids), READ_TOGETHER):
            some = {"$in": ids[first : first + READ_TOGETHER]}
            query: Document = {"conversation": some, "created_at": {"$gte": since * DAY_MS}}
            async with self._connection.operation() as collections:
                turns = collections.turns.find(query, fields)
                while found := await turns.to_list(TURNS_TOGETHER):
                    for document in found:
                        usage = (document.get("answer") or {}).get("usage")
                        asked = (int(document["created_at"]), usage)
                        told.setdefault(document["conversation"], []).append(asked)
        return {conversation_id: by_day(turns) for conversation_id, turns in told.items()}

    async def keep(self, conversation_id: str, user_id: str) -> None:
        """Before a purge: what the conversation has used, once. Harmless when repeated, also when
        some of its turns are gone."""
        days = together((await self._of([conversation_id], 0)).values())
        if not days:
            return
        kept = {
            "user": user_id,
            "last_day": max(days),
            "days": [{"day": day, **msgspec.structs.asdict(days[day])} for day in sorted(days)],
        }
        async with self._connection.operation() as collections:
            with suppress(DuplicateKeyError):  # another server purges it in this very moment
                await collections.usage.update_one(
                    {"_id": conversation_id}, {"$setOnInsert": kept}, upsert=True
                )

    async def note_spent(self, server: str, day: int, tokens: int) -> int:
        async with self._connection.operation() as collections:
            if tokens:
                noted = await collections.spent.update_one(
                    {"_id": f"{day}/{server}"},
                    {"$max": {"tokens": tokens}, "$setOnInsert": {"day": day}},
                    upsert=True,
                )
                if noted.upserted_id is not None:
                    await collections.spent.delete_many({"day": {"$lt": day - KEPT_DAYS}})
            found = await collections.spent.find({"day": day}, {"tokens": 1}).to_list()
        return sum(int(document["tokens"]) for document in found)


def _days(kept: list[dict[str, Any]]) -> Days:
    days: Days = {}
    for each in kept:
        # The driver gives a type of its own for long integers, which not every encoder takes.
        numbers = {name: int(value) for name, value in each.items()}
        day = numbers.pop("day")
        days[day] = Used(**numbers)
    return days
