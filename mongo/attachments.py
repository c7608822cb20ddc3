"""Attachments for good: a document each, with its bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from memory.records import Attachment
from mongo.client import Connection, aggregated
from mongo.collections import Collections, Document
from stores.attachments import LEAST_BYTES, Origin, Unclaimed
from stores.rules import require_text

# A purge removes so many at a time, so that no single operation outlasts its time.
PURGE_ATTACHMENTS = 100

UNCLAIMED: Document = {"claimed": False}


class MongoAttachments:
    """``stores.attachments.AttachmentStore``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(
        self, origin: Origin, attachments: Sequence[tuple[Attachment, bytes]], *, at: int
    ) -> None:
        require_text(origin.user_id, origin.conversation_id, origin.key)
        for attachment, data in attachments:
            fresh: Document = {
                "conversation": origin.conversation_id,
                "user": origin.user_id,
                "key": origin.key,
                "type": attachment.type,
                "media_type": attachment.media_type,
                "size": attachment.size,
                "claimed": False,
                "data": data,
            }
            change = {"$setOnInsert": fresh, "$max": {"at": at}}
            async with self._connection.operation() as collections:
                with suppress(DuplicateKeyError):  # another call of the same put it in this moment
                    await collections.attachments.update_one(
                        {"_id": attachment.id}, change, upsert=True
                    )

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None:
        async with self._connection.operation() as collections:
            found = await collections.attachments.find_one(
                {"_id": attachment_id, "conversation": conversation_id}
            )
        if found is None:
            return None
        attachment = Attachment(
            id=found["_id"],
            type=found["type"],
            media_type=found["media_type"],
            size=int(found["size"]),
        )
        return attachment, bytes(found["data"])

    async def bytes_of(self, user_id: str, *, but_for: str) -> int:
        counted = {"$sum": {"$max": ["$size", LEAST_BYTES]}}
        pipeline: list[Document] = [
            {"$match": {"user": user_id, "key": {"$ne": but_for}}},
            # Only what the index has.
            {"$project": {"_id": 0, "size": 1}},
            {"$group": {"_id": None, "bytes": counted}},
        ]
        async with self._connection.operation() as collections:
            found = await aggregated(collections.attachments, pipeline)
        return int(found[0]["bytes"]) if found else 0

    async def unclaimed(self, *, before: int, limit: int) -> list[Unclaimed]:
        query: Document = {**UNCLAIMED, "at": {"$lt": before}}
        fields = {"user": 1, "conversation": 1, "key": 1}
        async with self._connection.operation() as collections:
            cursor = collections.attachments.find(query, fields).sort("at").limit(limit)
            found = await cursor.to_list(limit)
        return [
            Unclaimed(each["_id"], Origin(each["user"], each["conversation"], each["key"]))
            for each in found
        ]

    async def claim(self, attachment_ids: Collection[str]) -> None:
        async with self._connection.operation() as collections:
            await collections.attachments.update_many(
                {"_id": {"$in": list(attachment_ids)}}, {"$set": {"claimed": True}}
            )

    async def remove_unclaimed(self, attachment_ids: Collection[str], *, before: int) -> int:
        query: Document = {"_id": {"$in": list(attachment_ids)}, **UNCLAIMED}
        query["at"] = {"$lt": before}
        async with self._connection.operation() as collections:
            removed = await collections.attachments.delete_many(query)
        return removed.deleted_count


async def purge_some(collections: Collections, conversation_id: str) -> bool:
    """Remove some of a deleted conversation's; True when that was all."""
    query = collections.attachments.find({"conversation": conversation_id}, {"_id": 1})
    some = await query.limit(PURGE_ATTACHMENTS).to_list(PURGE_ATTACHMENTS)
    if some:
        ids = [each["_id"] for each in some]
        await collections.attachments.delete_many({"_id": {"$in": ids}})
    return len(some) < PURGE_ATTACHMENTS
