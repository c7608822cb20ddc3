"""Attachments for good: a row each, with its bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from embedded.database import Database, Transaction
from embedded.rows import as_json
from memory.records import Attachment
from stores.attachments import LEAST_BYTES, Origin, Unclaimed
from stores.rules import require_text

# A purge removes so many at a time: what is removed is overwritten, a megabyte each.
PURGE_ATTACHMENTS = 50

PUT = """
    INSERT INTO attachments (id, conversation, user, key, type, media_type, size, at, claimed, data)
    VALUES (:id, :conversation, :user, :key, :type, :media_type, :size, :at, 0, :data)
    ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)
"""
GET = "SELECT * FROM attachments WHERE id = :id AND conversation = :conversation"
BYTES_OF = """
    SELECT coalesce(sum(max(size, :least)), 0) AS bytes FROM attachments
    WHERE user = :user AND key != :key
"""
UNCLAIMED = """
    SELECT id, user, conversation, key FROM attachments
    WHERE claimed = 0 AND at < :before ORDER BY at LIMIT :limit
"""
CLAIM = "UPDATE attachments SET claimed = 1 WHERE id IN (SELECT value FROM json_each(:ids))"
REMOVE_UNCLAIMED = """
    DELETE FROM attachments
    WHERE id IN (SELECT value FROM json_each(:ids)) AND claimed = 0 AND at < :before
"""
PURGE_SOME = """
    DELETE FROM attachments
    WHERE id IN (SELECT id FROM attachments WHERE conversation = :id LIMIT :limit)
"""


class EmbeddedAttachments:
    """``stores.attachments.AttachmentStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, origin: Origin, attachments: Sequence[tuple[Attachment, bytes]], *, at: int
    ) -> None:
        require_text(origin.user_id, origin.conversation_id, origin.key)
        came = {"conversation": origin.conversation_id, "user": origin.user_id, "key": origin.key}
        rows = [
            {
                **came,
                "id": attachment.id,
                "type": attachment.type,
                "media_type": attachment.media_type,
                "size": attachment.size,
                "at": at,
                "data": data,
            }
            for attachment, data in attachments
        ]

        async def work(transaction: Transaction) -> None:
            for row in rows:
                await transaction.change(PUT, row)

        await self._database.write(work)

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None:
        found = await self._database.row(
            GET, {"id": attachment_id, "conversation": conversation_id}
        )
        if found is None:
            return None
        attachment = Attachment(
            id=found["id"],
            type=found["type"],
            media_type=found["media_type"],
            size=found["size"],
        )
        return attachment, bytes(found["data"])

    async def bytes_of(self, user_id: str, *, but_for: str) -> int:
        parameters = {"user": user_id, "key": but_for, "least": LEAST_BYTES}
        found = await self._database.row(BYTES_OF, parameters)
        return 0 if found is None else int(found["bytes"])

    async def unclaimed(self, *, before: int, limit: int) -> list[Unclaimed]:
        found = await self._database.rows(UNCLAIMED, {"before": before, "limit": limit})
        return [
            Unclaimed(row["id"], Origin(row["user"], row["conversation"], row["key"]))
            for row in found
        ]

    async def claim(self, attachment_ids: Collection[str]) -> None:
        ids = as_json(list(attachment_ids))

        async def work(transaction: Transaction) -> None:
            await transaction.change(CLAIM, {"ids": ids})

        await self._database.write(work)

    async def remove_unclaimed(self, attachment_ids: Collection[str], *, before: int) -> int:
        parameters = {"ids": as_json(list(attachment_ids)), "before": before}

        async def work(transaction: Transaction) -> int:
            return await transaction.change(REMOVE_UNCLAIMED, parameters)

        return await self._database.write(work)


async def purge_some(transaction: Transaction, conversation_id: str) -> bool:
    """Remove some of a deleted conversation's; True when that was all."""
    parameters = {"id": conversation_id, "limit": PURGE_ATTACHMENTS}
    return await transaction.change(PURGE_SOME, parameters) < PURGE_ATTACHMENTS
