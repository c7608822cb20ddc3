"""Conversations for good: whose they are, where they stand, and the tombstones of deleted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from memory.errors import NotFound
from memory.records import NO_CHOICE, Choice, Conversation, Position, Summary, Turn
from mongo import attachments
from mongo.client import Connection
from mongo.collections import ALIVE, Collections, Document
from mongo.documents import (
    conversation_document,
    conversation_record,
    position_record,
    standing_record,
)
from mongo.facts import MongoFacts
from mongo.usage import MongoUsage
from stores.facts import forget_conversation
from stores.rules import kept_by, require_choice_text, require_same_request, require_text
from stores.turn_archive import Standing

# A purge removes this many turns at a time, so that no single operation outlasts its time.
PURGE_TURNS = 500

# So many are asked for at once.
MOST_POSITIONS = 500


class MongoConversations:
    """``stores.contract.ConversationStore``, and the archive's standing and summary."""

    def __init__(self, connection: Connection, facts: MongoFacts, usage: MongoUsage) -> None:
        self._connection = connection
        self._facts = facts
        self._usage = usage

    async def create(
        self,
        conversation_id: str,
        user_id: str,
        title: str,
        *,
        digest: str | None,
        at: int,
        choice: Choice = NO_CHOICE,
    ) -> tuple[Conversation, bool]:
        require_text(conversation_id, user_id, title, digest)
        require_choice_text(choice)
        document = conversation_document(conversation_id, user_id, title, digest, at, choice)
        async with self._connection.operation() as collections:
            try:
                await collections.conversations.insert_one(document)
            except DuplicateKeyError:
                kept = await collections.conversations.find_one({"_id": conversation_id})
            else:
                return conversation_record(document), True
        if kept is None:  # nobody removes a conversation's document, so only by hand
            raise NotFound
        require_same_request(
            user_id=user_id,
            digest=digest,
            kept_user=kept["user"],
            kept_digest=kept.get("digest"),
            deleted=kept["deleted"],
        )
        return conversation_record(kept), False

    async def get(self, conversation_id: str, user_id: str) -> Conversation:
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one(
                {"_id": conversation_id, "user": user_id, **ALIVE}
            )
        return conversation_record(_present(found))

    async def list(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        async with self._connection.operation() as collections:
            found = await (
                collections.conversations.find(list_filter(user_id, before))
                .sort([("updated_at", DESCENDING), ("_id", DESCENDING)])
                .limit(limit)
                .to_list(limit)
            )
        return [conversation_record(document) for document in found]

    async def rename(self, conversation_id: str, user_id: str, title: str) -> Conversation:
        require_text(title)
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one_and_update(
                {"_id": conversation_id, "user": user_id, **ALIVE},
                {"$set": {"title": title}},
                return_document=ReturnDocument.AFTER,
            )
        return conversation_record(_present(found))

    async def retitle(self, conversation_id: str, *, was: str, title: str) -> Conversation | None:
        require_text(title)
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one_and_update(
                {"_id": conversation_id, "title": was, **ALIVE},
                {"$set": {"title": title}},
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else conversation_record(found)

    async def configure(
        self,
        conversation_id: str,
        user_id: str,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
    ) -> Conversation:
        require_text(model, system_prompt)
        given = {"model": model, "system_prompt": system_prompt}
        change = {
            f"choice.{name}": value or None for name, value in given.items() if value is not None
        }
        if not change:
            return await self.get(conversation_id, user_id)
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one_and_update(
                {"_id": conversation_id, "user": user_id, **ALIVE},
                {"$set": change},
                return_document=ReturnDocument.AFTER,
            )
        return conversation_record(_present(found))

    async def touch(self, turn: Turn, *, title: str | None = None) -> Conversation:
        require_text(title)
        is_of_its_revision = {"$eq": ["$revision", turn.revision]}
        rises = {"$max": ["$turn", turn.place]}
        change: Document = {
            "turn": {"$cond": [is_of_its_revision, rises, "$turn"]},
            "updated_at": {"$max": ["$updated_at", turn.created_at]},
        }
        if title:
            untitled = {"$eq": ["$title", ""]}
            change["title"] = {"$cond": [untitled, {"$literal": title}, "$title"]}
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one_and_update(
                {"_id": turn.conversation_id, **ALIVE},
                [{"$set": change}],
                return_document=ReturnDocument.AFTER,
            )
        return conversation_record(_present(found))

    async def positions(self, conversation_ids: Collection[str]) -> dict[str, Position]:
        ids = list(conversation_ids)
        positions: dict[str, Position] = {}
        for first in range(0, len(ids), MOST_POSITIONS):
            query: Document = {"_id": {"$in": ids[first : first + MOST_POSITIONS]}, **ALIVE}
            fields = {"revision": 1, "turn": 1, "answers": 1}
            async with self._connection.operation() as collections:
                found = await collections.conversations.find(query, fields).to_list()
            positions |= {document["_id"]: position_record(document) for document in found}
        return positions

    async def delete(self, conversation_id: str, user_id: str) -> None:
        async with self._connection.operation() as collections:
            deleted = await collections.conversations.update_one(
                {"_id": conversation_id, "user": user_id, **ALIVE},
                [
                    {
                        "$replaceWith": {
                            "_id": "$_id",
                            "user": "$user",
                            "deleted": True,
                            "deleted_at": "$$NOW",
                            "purged": False,
                        }
                    }
                ],
            )
        if not deleted.matched_count:
            raise NotFound

    async def purge(self, conversation_id: str) -> None:
        tombstone = {"_id": conversation_id, "deleted": True}
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one(tombstone, {"user": 1})
        if found is None:
            return
        await forget_conversation(self._facts, found["user"], conversation_id)
        await self._usage.keep(conversation_id, found["user"])
        while True:
            async with self._connection.operation() as collections:
                if await self._purge_some(collections, conversation_id):
                    return

    async def _purge_some(self, collections: Collections, conversation_id: str) -> bool:
        """Remove some of what belongs to it; True when that was all."""
        tombstone = {"_id": conversation_id, "deleted": True}
        if await collections.conversations.find_one(tombstone, {"_id": 1}) is None:
            return True
        if not await attachments.purge_some(collections, conversation_id):
            return False
        turns = collections.turns.find({"conversation": conversation_id}, {"_id": 1})
        some = await turns.limit(PURGE_TURNS).to_list(PURGE_TURNS)
        await collections.turns.delete_many({"_id": {"$in": [turn["_id"] for turn in some]}})
        if len(some) == PURGE_TURNS:
            return False
        await collections.conversations.update_one(tombstone, {"$set": {"purged": True}})
        return True

    async def unpurged(self, limit: int) -> Sequence[str]:
        async with self._connection.operation() as collections:
            query = collections.conversations.find({"purged": False}, {"_id": 1})
            found = await query.sort("deleted_at").limit(limit).to_list(limit)
        return [document["_id"] for document in found]

    async def standing(self, conversation_id: str) -> Standing:
        async with self._connection.operation() as collections:
            found = await collections.conversations.find_one(
                {"_id": conversation_id, **ALIVE}, {"revision": 1, "summary": 1}
            )
        return standing_record(_present(found))

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        require_text(summary.text)
        kept: Document = msgspec.to_builtins(summary)
        held: Document = {"_id": conversation_id, "revision": revision, **ALIVE}
        # No summary yet counts as version 0; a query for None finds an absent field.
        previous = summary.version - 1 or None
        async with self._connection.operation() as collections:
            saved = await collections.conversations.update_one(
                {**held, "summary.version": previous}, {"$set": {"summary": kept}}
            )
            if saved.matched_count:
                return True
            # Unmatched, it may be this very summary, saved by a call whose reply was lost.
            query: Document = {**held, "summary.version": summary.version}
            query["summary.text"] = summary.text
            return await collections.conversations.find_one(query, {"_id": 1}) is not None

    async def rewrite(self, turn: Turn, rises: Document) -> None:
        """Let the record have a rewriting turn's revision and these counters, unless it has it."""
        is_changed = {"$gt": ["$summary.upto", kept_by(turn)]}
        change: Document = {**rises, "revision": turn.revision}
        change["summary"] = {"$cond": [is_changed, "$$REMOVE", "$summary"]}
        earlier = {"revision": {"$lt": turn.revision}}
        async with self._connection.operation() as collections:
            await collections.conversations.update_one(
                {"_id": turn.conversation_id, **ALIVE, **earlier}, [{"$set": change}]
            )

    async def raise_counters(self, conversation_id: str, rises: Document, *, revision: int) -> bool:
        """Only ever upwards, and only at this revision; False at another, or where it is gone."""
        async with self._connection.operation() as collections:
            raised = await collections.conversations.update_one(
                *raising(conversation_id, rises, revision=revision)
            )
        return raised.matched_count > 0


def raising(conversation_id: str, rises: Document, *, revision: int) -> tuple[Document, Document]:
    """An update: which conversation, and what of it."""
    return {"_id": conversation_id, **ALIVE, "revision": revision}, {"$max": rises}


def list_filter(user_id: str, before: tuple[int, str] | None) -> Document:
    query: Document = {"user": user_id, **ALIVE}
    if before is not None:
        at, conversation_id = before
        # The first condition is the index's bound; the second leaves out, of those of the same
        # millisecond, the ones already given.
        query["updated_at"] = {"$lte": at}
        query["$or"] = [{"updated_at": {"$lt": at}}, {"_id": {"$lt": conversation_id}}]
    return query


def _present(document: Document | None) -> Document:
    if document is None:
        raise NotFound
    return document
