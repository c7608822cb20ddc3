"""Turns, read: by their ids, by their numbers, and by their places in the transcript.

A turn of an older server has no place stored: its number is its place. No index has both kinds in
one order, so what goes by place is asked twice.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from pymongo import ASCENDING, DESCENDING

from memory.records import Turn, current
from mongo.client import Connection
from mongo.collections import CURRENT, NUMBER_INDEX, OPEN, Document
from mongo.documents import turn_record

Order: TypeAlias = list[tuple[str, int]]

NEWEST_FIRST: Order = [("n", DESCENDING)]
OLDEST_FIRST: Order = [("n", ASCENDING)]
BACKWARD: Order = [("place", DESCENDING), ("n", DESCENDING)]
FORWARD: Order = [("place", ASCENDING), ("n", ASCENDING)]

RECORD: Document = {"context": 0, "vectors": 0}
"""What a turn's record is made of: all but what is asked for by itself alone."""

UNPLACED: Document = {"place": {"$exists": False}}
PLACE: Document = {"$ifNull": ["$place", "$n"]}


class TurnReads:
    """What ``MongoTurns`` reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, conversation_id: str, turn_id: str) -> Turn | None:
        return await self._one({"_id": turn_id, "conversation": conversation_id})

    async def by_message(self, user_id: str, key: str) -> Turn | None:
        return await self._one({"user": user_id, "question.message_id": key})

    async def last(self, conversation_id: str) -> Turn | None:
        latest = await self.before(conversation_id, None, 1)
        return latest[0] if latest else None

    async def at_place(self, conversation_id: str, place: int) -> Turn | None:
        last = await self.last(conversation_id)
        if last is None or place > last.place:
            return None
        # As far as the last place, whatever was rewritten has a newer turn at its place.
        there = await self.many({"$or": [*at(conversation_id, {"$eq": place})]})
        return max(there, key=lambda turn: turn.n, default=None)

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        return await self.many({"conversation": conversation_id, **OPEN}, OLDEST_FIRST)

    async def before(self, conversation_id: str, place: int | None, limit: int) -> list[Turn]:
        if place is None:
            here = {"conversation": conversation_id, **CURRENT}
            return current(await self.many(here, NEWEST_FIRST, limit))
        last = await self.last(conversation_id)
        if last is None:
            return []
        # What was rewritten is beyond the last place, or has a newer turn at its place.
        earlier = {"$lt": min(place, last.place + 1)}
        found = await self._page(conversation_id, earlier, BACKWARD, limit)
        return current(found[-limit:])

    async def since(self, conversation_id: str, place: int, limit: int) -> list[Turn]:
        found = await self._page(conversation_id, {"$gte": place}, FORWARD, limit)
        return current(found[:limit])

    async def answers_before(self, turn: Turn) -> int:
        if turn.place == 1:
            return 0
        earlier: Document = {"n": {"$lt": turn.n}, "$expr": {"$lt": [PLACE, turn.place]}}
        return await self.answers({"conversation": turn.conversation_id, **earlier})

    async def answers(self, query: Document) -> int:
        """The count of the newest turn that has one. A turn stopped while it was queued has none,
        and no answer to count either."""
        counted: Document = {**query, **CURRENT, "answers": {"$ne": None}}
        async with self._connection.operation() as collections:
            found = await collections.turns.find_one(counted, {"answers": 1}, sort=NEWEST_FIRST)
        return 0 if found is None else int(found["answers"])

    async def context(self, conversation_id: str, turn_id: str) -> dict[str, Any] | None:
        query = {"_id": turn_id, "conversation": conversation_id}
        async with self._connection.operation() as collections:
            found = await collections.turns.find_one(query, {"context": 1})
        text = found and found.get("context")
        return msgspec.json.decode(text, type=dict[str, Any]) if text else None

    async def answered_by(self, conversation_id: str, message_id: str) -> str | None:
        """The id of the current turn with this answer. Most are asked for soon after they came, so
        it is looked for from the last one on."""
        answered = {"conversation": conversation_id, **CURRENT, "answer.message_id": message_id}
        async with self._connection.operation() as collections:
            found = await collections.turns.find_one(
                answered, {"place": 1, "n": 1}, sort=NEWEST_FIRST, hint=NUMBER_INDEX
            )
        if found is None:
            return None
        # What an edit has superseded may not be marked yet.
        there = await self.at_place(conversation_id, int(found.get("place") or found["n"]))
        return there.id if there is not None and there.id == found["_id"] else None

    async def _one(self, query: Document) -> Turn | None:
        async with self._connection.operation() as collections:
            found = await collections.turns.find_one(query, RECORD)
        return None if found is None else turn_record(found)

    async def _page(
        self, conversation_id: str, bound: Document, order: Order, limit: int
    ) -> list[Turn]:
        """Ascending by place: of those with a place up to ``limit``, and of those without."""
        placed, unplaced = at(conversation_id, bound)
        # These first: a rewriting turn that comes in between has a place, and is seen.
        found = await self.many(unplaced, order, limit)
        found += await self.many(placed, order, limit)
        return sorted(found, key=lambda turn: (turn.place, turn.n))

    async def many(self, query: Document, order: Order | None = None, limit: int = 0) -> list[Turn]:
        """0 is no limit."""
        async with self._connection.operation() as collections:
            found = collections.turns.find(query, RECORD, sort=order, limit=limit)
            documents = await found.to_list()
        return [turn_record(document) for document in documents]


def at(conversation_id: str, bound: Document) -> tuple[Document, Document]:
    """Two queries for the current turns whose place keeps to ``bound``: for those that have one
    stored, and for those that an older server wrote."""
    here = {"conversation": conversation_id, **CURRENT}
    return {**here, "place": bound}, {**here, **UNPLACED, "n": bound}
