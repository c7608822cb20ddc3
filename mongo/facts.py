"""What is remembered of people, for good: a document each."""

from __future__ import annotations

import msgspec
from pymongo.errors import DuplicateKeyError

from memory.facts import Remembered
from mongo.client import Connection
from mongo.collections import Document
from mongo.documents import as_text
from stores.facts import Told
from stores.rules import require_text


class MongoFacts(Told):
    """``stores.facts.FactStore``."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def of(self, user_id: str) -> Remembered:
        async with self._connection.operation() as collections:
            found = await collections.facts.find_one({"_id": user_id})
        return _record(found)

    async def keep(self, user_id: str, remembered: Remembered, *, over: str) -> bool:
        require_text(user_id, *(fact.text for fact in remembered.facts))
        document: Document = {"_id": user_id, "stamp": remembered.stamp}
        document["kept"] = as_text(remembered)
        as_it_was: Document = {"_id": user_id, "stamp": over}
        before: Document | None = None
        async with self._connection.operation() as collections:
            try:
                if over:
                    before = await collections.facts.find_one_and_replace(as_it_was, document)
                else:
                    await collections.facts.insert_one(document)
                is_kept = before is not None or not over
            except DuplicateKeyError:
                is_kept = False
            if not is_kept:
                # It may be this very one, kept by a call whose reply was lost.
                query: Document = {"_id": user_id, "stamp": remembered.stamp}
                is_kept = await collections.facts.find_one(query, {"_id": 1}) is not None
        if is_kept:
            self.tell(user_id, _record(before), remembered)
        return is_kept

    async def forget(self, user_id: str, *, over: str | None = None) -> None:
        query: Document = {"_id": user_id} if over is None else {"_id": user_id, "stamp": over}
        async with self._connection.operation() as collections:
            before = await collections.facts.find_one_and_delete(query)
        self.tell(user_id, _record(before), Remembered())


def _record(document: Document | None) -> Remembered:
    if document is None:
        return Remembered()
    return msgspec.json.decode(document["kept"], type=Remembered)
