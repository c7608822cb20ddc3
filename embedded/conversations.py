"""Conversations for good: whose they are, where they stand, and the tombstones of deleted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from embedded import attachments
from embedded.database import Database, Parameters, Transaction, now
from embedded.facts import EmbeddedFacts
from embedded.rows import (
    as_json,
    choice_json,
    conversation_record,
    position_record,
    standing_record,
)
from embedded.usage import EmbeddedUsage
from embedded.words import forget_words
from memory.errors import NotFound
from memory.records import NO_CHOICE, Choice, Conversation, Position, Summary, Turn
from stores.facts import forget_conversation
from stores.rules import (
    activity_of,
    configured,
    kept_by,
    require_choice_text,
    require_same_request,
    require_text,
)
from stores.turn_archive import Standing

# A purge removes this many turns at a time, so that other writes get their turn in between.
PURGE_TURNS = 500

BY_ID = "SELECT * FROM conversations WHERE id = :id"

LATEST = """
    SELECT * FROM conversations WHERE user = :user AND deleted = 0
    ORDER BY updated_at DESC, id DESC LIMIT :limit
"""
BEFORE = """
    SELECT * FROM conversations
    WHERE user = :user AND deleted = 0 AND (updated_at, id) < (:at, :id)
    ORDER BY updated_at DESC, id DESC LIMIT :limit
"""
ALIVE = """
    SELECT * FROM conversations
    WHERE id IN (SELECT value FROM json_each(:ids)) AND user = :user AND deleted = 0
"""
CREATE = """
    INSERT INTO conversations (id, user, title, created_at, updated_at, digest, choice)
    VALUES (:id, :user, :title, :at, :at, :digest, :choice)
    ON CONFLICT (id) DO NOTHING
"""
RENAME = """
    UPDATE conversations SET title = :title WHERE id = :id AND user = :user AND deleted = 0
"""
RETITLE = """
    UPDATE conversations SET title = :title WHERE id = :id AND title = :was AND deleted = 0
"""
CONFIGURE = "UPDATE conversations SET choice = :choice WHERE id = :id"
TOUCH = """
    UPDATE conversations
    SET turn = CASE revision WHEN :revision THEN max(turn, :place) ELSE turn END,
        updated_at = max(updated_at, :at),
        title = CASE title WHEN '' THEN :title ELSE title END
    WHERE id = :id AND deleted = 0
"""
DELETE = """
    UPDATE conversations
    SET deleted = 1, deleted_at = :now, purged = 0, title = '', digest = NULL, summary = NULL,
        choice = NULL, summary_version = 0, created_at = 0, updated_at = 0, revision = 0, turn = 0,
        answers = 0
    WHERE id = :id AND user = :user AND deleted = 0
"""
PURGE_SOME = """
    DELETE FROM turns WHERE id IN (SELECT id FROM turns WHERE conversation = :id LIMIT :limit)
"""
SAVE_SUMMARY = """
    UPDATE conversations SET summary = :summary, summary_version = :version
    WHERE id = :id AND deleted = 0 AND revision = :revision AND summary_version = :version - 1
"""
FOLLOW = """
    UPDATE conversations
    SET turn = max(turn, :turn), answers = max(answers, :answers), updated_at = max(updated_at, :at)
    WHERE id = :id AND deleted = 0
        AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.id = :turn_id AND superseded = 1)
"""
# The counters become what the current turns amount to.
REWRITE = """
    UPDATE conversations
    SET revision = :revision,
        turn = coalesce((
            SELECT coalesce(place, n) FROM turns
            WHERE conversation = :id AND superseded = 0 ORDER BY n DESC LIMIT 1
        ), 0),
        answers = coalesce((
            SELECT answers FROM turns
            WHERE conversation = :id AND superseded = 0 AND answers IS NOT NULL
            ORDER BY n DESC LIMIT 1
        ), 0),
        summary_version = CASE WHEN json_extract(summary, '$.upto') > :kept THEN 0
            ELSE summary_version END,
        summary = CASE WHEN json_extract(summary, '$.upto') > :kept THEN NULL ELSE summary END
    WHERE id = :id AND revision < :revision
"""
POSITIONS = """
    SELECT id, revision, turn, answers FROM conversations
    WHERE id IN (SELECT value FROM json_each(:ids)) AND deleted = 0
"""


class EmbeddedConversations:
    """``stores.contract.ConversationStore``, and the archive's standing and summary."""

    def __init__(self, database: Database, facts: EmbeddedFacts, usage: EmbeddedUsage) -> None:
        self._database = database
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
        fields = {"id": conversation_id, "user": user_id, "title": title, "digest": digest}
        fields |= {"choice": choice_json(choice)}

        async def work(transaction: Transaction) -> tuple[Conversation, bool]:
            made = await transaction.change(CREATE, {**fields, "at": at})
            kept = await transaction.row(BY_ID, {"id": conversation_id})
            if kept is None:
                raise NotFound
            if not made:
                require_same_request(
                    user_id=user_id,
                    digest=digest,
                    kept_user=kept["user"],
                    kept_digest=kept["digest"],
                    deleted=bool(kept["deleted"]),
                )
            return conversation_record(kept), bool(made)

        return await self._database.write(work)

    async def get(self, conversation_id: str, user_id: str) -> Conversation:
        found = await self._database.row(BY_ID, {"id": conversation_id})
        if found is None or found["user"] != user_id or found["deleted"]:
            raise NotFound
        return conversation_record(found)

    async def list(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        parameters: Parameters = {"user": user_id, "limit": limit}
        if before is None:
            found = await self._database.rows(LATEST, parameters)
        else:
            at, conversation_id = before
            parameters |= {"at": at, "id": conversation_id}
            found = await self._database.rows(BEFORE, parameters)
        return [conversation_record(row) for row in found]

    async def rename(self, conversation_id: str, user_id: str, title: str) -> Conversation:
        require_text(conversation_id, user_id, title)
        parameters = {"id": conversation_id, "user": user_id, "title": title}
        return await self._changed(RENAME, parameters)

    async def retitle(self, conversation_id: str, *, was: str, title: str) -> Conversation | None:
        require_text(conversation_id, was, title)
        try:
            return await self._changed(RETITLE, {"id": conversation_id, "was": was, "title": title})
        except NotFound:
            return None

    async def configure(
        self,
        conversation_id: str,
        user_id: str,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
    ) -> Conversation:
        require_text(conversation_id, user_id, model, system_prompt)

        async def work(transaction: Transaction) -> Conversation:
            found = await transaction.row(BY_ID, {"id": conversation_id})
            if found is None or found["user"] != user_id or found["deleted"]:
                raise NotFound
            kept = conversation_record(found)
            choice = configured(kept.choice, model, system_prompt)
            change = {"id": conversation_id, "choice": choice_json(choice)}
            await transaction.change(CONFIGURE, change)
            return msgspec.structs.replace(kept, choice=choice)

        return await self._database.write(work)

    async def touch(self, turn: Turn, *, title: str | None = None) -> Conversation:
        require_text(turn.conversation_id, title)
        parameters: Parameters = {"id": turn.conversation_id, "title": title or ""}
        parameters |= {"revision": turn.revision, "place": turn.place, "at": turn.created_at}
        return await self._changed(TOUCH, parameters)

    async def positions(self, conversation_ids: Collection[str]) -> dict[str, Position]:
        ids = as_json(list(conversation_ids))
        found = await self._database.rows(POSITIONS, {"ids": ids})
        return {row["id"]: position_record(row) for row in found}

    async def delete(self, conversation_id: str, user_id: str) -> None:
        require_text(conversation_id, user_id)
        parameters = {"id": conversation_id, "user": user_id, "now": now()}
        await self._changed(DELETE, parameters)

    async def purge(self, conversation_id: str) -> None:
        require_text(conversation_id)

        async def work(transaction: Transaction) -> bool:
            """Remove some of what belongs to it; True when that was all."""
            tombstone = await transaction.row(BY_ID, {"id": conversation_id})
            if tombstone is None or not tombstone["deleted"]:
                return True
            if not await attachments.purge_some(transaction, conversation_id):
                return False
            removed = await transaction.change(
                PURGE_SOME, {"id": conversation_id, "limit": PURGE_TURNS}
            )
            if removed == PURGE_TURNS:
                return False
            await transaction.change(
                "UPDATE conversations SET purged = 1 WHERE id = :id", {"id": conversation_id}
            )
            return True

        found = await self._database.row(BY_ID, {"id": conversation_id})
        if found is not None and found["deleted"]:
            await forget_conversation(self._facts, found["user"], conversation_id)
            await self._usage.keep(conversation_id, found["user"])
        while not await self._database.write(work):
            pass
        await forget_words(self._database)
        await self._database.empty_log()

    async def unpurged(self, limit: int) -> Sequence[str]:
        found = await self._database.rows(
            "SELECT id FROM conversations WHERE purged = 0 ORDER BY deleted_at LIMIT :limit",
            {"limit": limit},
        )
        return [row["id"] for row in found]

    async def standing(self, conversation_id: str) -> Standing:
        found = await self._database.row(BY_ID, {"id": conversation_id})
        if found is None or found["deleted"]:
            raise NotFound
        return standing_record(found)

    async def save_summary(self, conversation_id: str, summary: Summary, *, revision: int) -> bool:
        require_text(conversation_id, summary.text)
        kept = as_json(summary)
        parameters = {"id": conversation_id, "summary": kept, "version": summary.version}

        async def work(transaction: Transaction) -> bool:
            if await transaction.change(SAVE_SUMMARY, {**parameters, "revision": revision}):
                return True
            # Unmatched, it may be this very summary, saved by a call whose reply was lost.
            found = await transaction.row(BY_ID, {"id": conversation_id})
            return found is not None and (found["revision"], found["summary"]) == (revision, kept)

        return await self._database.write(work)

    async def _changed(self, sql: str, parameters: Parameters) -> Conversation:
        """The conversation after a change that only an existing one undergoes."""

        async def work(transaction: Transaction) -> Conversation:
            if not await transaction.change(sql, parameters):
                raise NotFound
            kept = await transaction.row(BY_ID, {"id": parameters["id"]})
            if kept is None:
                raise NotFound
            return conversation_record(kept)

        return await self._database.write(work)


async def follow(transaction: Transaction, turn: Turn) -> None:
    """Let the counters rise to what ``turn``, which has ended, says; unless it is superseded."""
    rises = {"turn": turn.place, "answers": turn.answers or 0, "at": activity_of(turn)}
    await transaction.change(FOLLOW, {"id": turn.conversation_id, "turn_id": turn.id, **rises})


async def touch(transaction: Transaction, turn: Turn) -> None:
    """As ``EmbeddedConversations.touch`` does."""
    change: Parameters = {"id": turn.conversation_id, "title": "", "revision": turn.revision}
    await transaction.change(TOUCH, {**change, "place": turn.place, "at": turn.created_at})


async def revision_of(transaction: Transaction, conversation_id: str) -> int:
    """Raises ``NotFound`` for a conversation that was never made or is deleted."""
    found = await transaction.row(BY_ID, {"id": conversation_id})
    if found is None or found["deleted"]:
        raise NotFound
    revision: int = found["revision"]
    return revision


async def rewrite(transaction: Transaction, turn: Turn) -> None:
    """Let the record follow a rewriting turn, all it supersedes being marked; unless it did so."""
    change = {"id": turn.conversation_id, "revision": turn.revision, "kept": kept_by(turn)}
    await transaction.change(REWRITE, change)
