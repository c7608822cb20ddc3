"""How many tokens were used, out of the turns and of what purges kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from embedded.database import Database, Transaction
from embedded.rows import as_json
from stores.rules import require_text
from stores.usage import DAY_MS, Days, by_day, together

# Conversations, and turns, that are read at a time: others read in between.
READ_TOGETHER = 100
TURNS_TOGETHER = 1_000

# Days for which what servers noted is still asked for.
KEPT_DAYS = 2

ACTIVE = """
    SELECT id FROM conversations WHERE user = :user AND deleted = 0 AND updated_at >= :since
"""
# Deleted, and perhaps not kept yet.
HALF_GONE = "SELECT id FROM conversations WHERE purged = 0 AND deleted_at > 0 AND user = :user"
# Turns are numbered as they were asked: those before the day need not be looked through.
RANGES = """
    SELECT json_each.value AS id,
        coalesce((
            SELECT n FROM turns WHERE conversation = json_each.value AND created_at < :since
            ORDER BY n DESC LIMIT 1
        ), 0) AS before,
        coalesce((
            SELECT n FROM turns WHERE conversation = json_each.value ORDER BY n DESC LIMIT 1
        ), 0) AS last
    FROM json_each(:ids)
"""
WITHIN = """
    SELECT conversation, created_at, json_extract(answer, '$.usage') AS usage
    FROM json_each(:ranges) CROSS JOIN turns
    WHERE conversation = json_extract(json_each.value, '$[0]')
        AND n > json_extract(json_each.value, '$[1]') AND n <= json_extract(json_each.value, '$[2]')
        AND created_at >= :since
"""
KEPT = "SELECT conversation, days FROM usage WHERE user = :user AND last_day >= :since"
KEEP = """
    INSERT INTO usage (conversation, user, last_day, days)
    VALUES (:conversation, :user, :last_day, :days)
    ON CONFLICT (conversation) DO NOTHING
"""
NOTE_SPENT = """
    INSERT INTO spent (day, server, tokens) VALUES (:day, :server, :tokens)
    ON CONFLICT (day, server) DO UPDATE SET tokens = max(tokens, :tokens)
"""
SPENT = "SELECT coalesce(sum(tokens), 0) AS tokens FROM spent WHERE day = :day"
FORGET_SPENT = "DELETE FROM spent WHERE day < :day"


class EmbeddedUsage:
    """``stores.usage.UsageStore``, and what a purge asks of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_user(self, user_id: str, since: int) -> Days:
        whose = {"user": user_id, "since": since * DAY_MS}
        found = await self._database.rows(ACTIVE, whose)
        found += await self._database.rows(HALF_GONE, whose)
        days = await self._of(sorted({row["id"] for row in found}), since)
        for row in await self._database.rows(KEPT, {"user": user_id, "since": since}):
            days[row["conversation"]] = msgspec.json.decode(row["days"], type=Days)
        return together(days.values(), since=since)

    async def of_conversation(self, conversation_id: str, since: int) -> Days:
        return together((await self._of([conversation_id], since)).values(), since=since)

    async def _of(self, conversation_ids: Collection[str], since: int) -> dict[str, Days]:
        ids = list(conversation_ids)
        told: dict[str, list[tuple[int, str | None]]] = {}
        for first in range(0, len(ids), READ_TOGETHER):
            whose = {"ids": as_json(ids[first : first + READ_TOGETHER]), "since": since * DAY_MS}
            found = await self._database.rows(RANGES, whose)
            for ranges in _parts([(row["id"], row["before"], row["last"]) for row in found]):
                parameters = {"ranges": as_json(ranges), "since": since * DAY_MS}
                for row in await self._database.rows(WITHIN, parameters):
                    asked = (row["created_at"], row["usage"])
                    told.setdefault(row["conversation"], []).append(asked)
        return {conversation_id: by_day(turns) for conversation_id, turns in told.items()}

    async def keep(self, conversation_id: str, user_id: str) -> None:
        """Before a purge: what the conversation has used, once. Harmless when repeated, also when
        some of its turns are gone."""
        days = together((await self._of([conversation_id], 0)).values())
        if not days:
            return
        kept = {"conversation": conversation_id, "user": user_id}
        parameters = {**kept, "last_day": max(days), "days": as_json(days)}

        async def work(transaction: Transaction) -> None:
            await transaction.change(KEEP, parameters)

        await self._database.write(work)

    async def note_spent(self, server: str, day: int, tokens: int) -> int:
        require_text(server)
        noted = {"day": day, "server": server, "tokens": tokens}

        async def work(transaction: Transaction) -> None:
            await transaction.change(NOTE_SPENT, noted)
            await transaction.change(FORGET_SPENT, {"day": day - KEPT_DAYS})

        if tokens:
            await self._database.write(work)
        found = await self._database.row(SPENT, {"day": day})
        return 0 if found is None else int(found["tokens"])


def _parts(ranges: list[tuple[str, int, int]]) -> Iterator[list[tuple[str, int, int]]]:
    """The turns with numbers from after ``before`` to ``last``, so many at a time."""
    part: list[tuple[str, int, int]] = []
    room = TURNS_TOGETHER
    for conversation_id, before, last in ranges:
        while before < last:
            end = min(last, before + room)
            part.append((conversation_id, before, end))
            room -= end - before
            before = end
            if not room:
                yield part
                part, room = [], TURNS_TOGETHER
    if part:
        yield part
