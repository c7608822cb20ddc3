"""Users who had all that is theirs deleted: a document each, until that is done."""

from __future__ import annotations

from mongo.client import Connection
from mongo.collections import Document
from stores.erasures import Erasure
from stores.rules import require_text


class MongoErasures:
    """``stores.erasures.ErasureStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self, erasure: Erasure) -> None:
        require_text(erasure.user_id)
        async with self._connection.operation() as collections:
            await collections.erasures.update_one(
                {"_id": erasure.user_id}, {"$max": {"at": erasure.at}}, upsert=True
            )

    async def of(self, user_id: str) -> Erasure | None:
        async with self._connection.operation() as collections:
            found = await collections.erasures.find_one({"_id": user_id})
        return None if found is None else _record(found)

    async def unfinished(self, limit: int) -> list[Erasure]:
        async with self._connection.operation() as collections:
            found = await collections.erasures.find().sort("at").limit(limit).to_list(limit)
        return [_record(document) for document in found]

    async def done(self, erasure: Erasure) -> None:
        async with self._connection.operation() as collections:
            await collections.erasures.delete_one({"_id": erasure.user_id, "at": erasure.at})


def _record(document: Document) -> Erasure:
    return Erasure(document["_id"], int(document["at"]))
