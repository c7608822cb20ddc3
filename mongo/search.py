"""Finding messages, by an index that MongoDB keeps."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from bson import Binary
from pymongo import DESCENDING

from memory.records import Conversation, Turn
from mongo.client import Connection, aggregated
from mongo.collections import ALIVE, CURRENT, OPEN, Document
from mongo.documents import conversation_record, turn_record
from mongo.turn_reads import PLACE, RECORD, UNPLACED
from stores.ranking import Match, Place
from stores.rules import require_text
from stores.search import MOST_A_WORD, MOST_LOOKED_THROUGH, SEARCH_SECONDS, Searching, Vectors
from stores.words import Wanted

# MongoDB itself gives up a little before whoever asked does, so that nothing goes on unheard.
MOST_MS = round(SEARCH_SECONDS * 1000) - 200

TEXTS = ("question.content", "answer.content")
SPOT: Document = {"_id": 0, "conversation": 1, "place": PLACE}


class MongoSearch(Searching):
    """``stores.search.SearchStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(self)

    async def matches(
        self, wanted: Wanted, user_id: str, conversation_id: str | None
    ) -> list[Match]:
        scope: Document = {"user": user_id, **CURRENT}
        if conversation_id is not None:
            scope["conversation"] = conversation_id
        pipelines = [_with_word(scope, term, word) for term, word in enumerate(wanted.words)]
        if wanted.pieces:
            pipelines.append(_with_pieces(scope, wanted))
        if not pipelines:
            return []
        # All in one round trip.
        first, *others = pipelines
        more = [{"$unionWith": {"coll": "turns", "pipeline": each}} for each in others]
        async with self._connection.operation() as collections:
            found = await aggregated(collections.turns, [*first, *more], most_ms=MOST_MS)
        return [
            Match(int(term), document["conversation"], int(document["place"]))
            for document in found
            for term in document["terms"]
        ]

    async def count(self, user_id: str, conversation_id: str | None) -> int:
        query: Document = {"user": user_id}
        if conversation_id is not None:
            query = {"conversation": conversation_id}
        async with self._connection.operation() as collections:
            return await collections.turns.count_documents(query, limit=MOST_LOOKED_THROUGH)

    async def turns_at(self, user_id: str, places: Collection[Place]) -> list[Turn]:
        by_conversation: dict[str, list[int]] = {}
        for conversation_id, place in places:
            by_conversation.setdefault(conversation_id, []).append(place)
        either: list[Document] = []
        for conversation_id, some in by_conversation.items():
            here: Document = {"conversation": conversation_id, **CURRENT}
            either.append({**here, "place": {"$in": some}})
            either.append({**here, **UNPLACED, "n": {"$in": some}})
        async with self._connection.operation() as collections:
            found = collections.turns.find({"$or": either}, RECORD, max_time_ms=MOST_MS)
            documents = await found.to_list()
        return [turn_record(each) for each in documents if each["user"] == user_id]

    async def rewriting(self, conversation_ids: Collection[str]) -> list[tuple[str, int, int]]:
        query: Document = {"conversation": {"$in": list(conversation_ids)}, **OPEN}
        query["rewrites"] = True
        fields = {"conversation": 1, "n": 1, "place": 1}
        async with self._connection.operation() as collections:
            found = await collections.turns.find(query, fields).to_list()
        return [(each["conversation"], int(each["n"]), int(each["place"])) for each in found]

    async def alive(self, user_id: str, ids: Collection[str]) -> dict[str, Conversation]:
        query: Document = {"_id": {"$in": list(ids)}, "user": user_id, **ALIVE}
        async with self._connection.operation() as collections:
            found = await collections.conversations.find(query, {"summary": 0}).to_list()
        return {document["_id"]: conversation_record(document) for document in found}

    async def without_vectors(
        self, user_id: str, conversation_id: str, model: str, *, among: int, limit: int
    ) -> list[Turn]:
        missing = {"user": user_id, "open": False, "vectors.model": {"$ne": model}}
        pipeline: list[Document] = [
            {"$match": {"conversation": conversation_id, **CURRENT}},
            {"$sort": {"n": DESCENDING}},
            {"$limit": among},
            {"$match": missing},
            {"$limit": limit},
            {"$project": RECORD},
        ]
        async with self._connection.operation() as collections:
            documents = await aggregated(collections.turns, pipeline)
        return [turn_record(document) for document in documents]

    async def keep_vectors(self, turn: Turn, model: str, question: bytes, answer: bytes) -> None:
        require_text(model)
        vectors: Document = {"model": {"$literal": model}, "at": "$$NOW"}
        vectors |= {"question": Binary(question), "answer": Binary(answer)}
        async with self._connection.operation() as collections:
            await collections.turns.update_one(
                {"_id": turn.id, **CURRENT}, [{"$set": {"vectors": vectors}}]
            )

    async def vectors(self, user_id: str, model: str, *, since: int, limit: int) -> list[Vectors]:
        query: Document = {"user": user_id, "vectors.model": model}
        query |= {"vectors.at": {"$gte": _date(since)}, **CURRENT}
        fields = {"conversation": 1, "n": 1, "place": 1, "vectors": 1}
        order = [("vectors.at", DESCENDING)]
        async with self._connection.operation() as collections:
            found = collections.turns.find(
                query, fields, sort=order, limit=limit, max_time_ms=MOST_MS
            )
            documents = await found.to_list()
        return [_vectors(document) for document in documents]


def _with_word(scope: Document, term: int, word: str) -> list[Document]:
    """A word has letters and digits alone: none of it is an operator of MongoDB's."""
    return [
        {"$match": {**scope, "$text": {"$search": word}}},
        {"$limit": MOST_A_WORD},
        {"$project": {**SPOT, "terms": {"$literal": [term]}}},
    ]


def _with_pieces(scope: Document, wanted: Wanted) -> list[Document]:
    """One look through the texts for all of them."""
    any_of = {"$regex": "|".join(map(re.escape, wanted.pieces)), "$options": "i"}
    first = len(wanted.words)
    has: list[Any] = [
        {"$cond": [{"$or": [_contains(text, piece) for text in TEXTS]}, [first + i], []]}
        for i, piece in enumerate(wanted.pieces)
    ]
    return [
        {"$match": scope},
        {"$limit": MOST_LOOKED_THROUGH},
        {"$match": {"$or": [{text: any_of} for text in TEXTS]}},
        {"$project": {**SPOT, "terms": {"$concatArrays": has}}},
    ]


def _contains(text: str, piece: str) -> Document:
    found = {"$indexOfBytes": [{"$toLower": {"$ifNull": [f"${text}", ""]}}, {"$literal": piece}]}
    return {"$gte": [found, 0]}


def _vectors(document: Document) -> Vectors:
    vectors = document["vectors"]
    return Vectors(
        turn_id=document["_id"],
        conversation_id=document["conversation"],
        place=int(document["place"] if "place" in document else document["n"]),
        question=bytes(vectors["question"]),
        answer=bytes(vectors["answer"]),
        at=round(vectors["at"].replace(tzinfo=UTC).timestamp() * 1000),
    )


def _date(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
