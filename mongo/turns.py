"""Turns for good: one document each, from a message's acceptance to its answer's end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from memory.errors import Duplicate, NotFound
from memory.records import Answer, Choice, Feedback, ToolUse, Turn, TurnError, TurnStatus
from mongo.batching import TurnInserts
from mongo.client import Connection, aggregated
from mongo.closing import Closing
from mongo.collections import CURRENT, OPEN, Document
from mongo.conversations import MongoConversations
from mongo.documents import answer_document, as_text, turn_record
from mongo.facts import MongoFacts
from mongo.resting import Resting
from mongo.superseding import Superseding
from mongo.taking_in import TakingIn
from mongo.turn_reads import OLDEST_FIRST, RECORD, TurnReads
from stores.contract import Rest
from stores.facts import forget_superseded
from stores.rules import (
    is_end_of,
    require_brought,
    require_choice_text,
    require_end,
    require_end_text,
    require_rewriting,
    require_text,
    require_turn_text,
)

LEASE_OVER: Document = {"$expr": {"$lte": ["$lease_until", "$$NOW"]}}
LONG_OVER = datetime(1970, 1, 1, tzinfo=UTC)

# Of what is brought so many turns at a time, so that other writes get their turn in between.
BROUGHT_TOGETHER = 50


class MongoTurns(TurnReads):
    """``stores.contract.TurnStore``, and the archive's reads."""

    def __init__(
        self, connection: Connection, conversations: MongoConversations, facts: MongoFacts
    ) -> None:
        super().__init__(connection)
        self._facts = facts
        self._conversations = conversations
        self._superseding = Superseding(connection, conversations, self)
        self._inserts = TurnInserts(connection)
        self._resting = Resting()
        self._closing = Closing(connection, self._superseding, self._resting)
        self._taking_in = TakingIn(connection, self._inserts, self)

    async def open_turns(self, conversation_id: str) -> list[Turn]:
        last = self._resting.last_closed(conversation_id)
        found = await super().open_turns(conversation_id)
        if last is not None and not found:
            self._resting.rests(conversation_id, last)
        return found

    def at_rest(self, conversation_id: str) -> Rest | None:
        return self._resting.at(conversation_id)

    def comes_to_rest(self, turn: Turn) -> None:
        self._resting.comes_to_rest(turn)

    def forget_rest(self, conversation_id: str) -> None:
        self._resting.forget(conversation_id)

    async def insert(self, turn: Turn, *, lease_ms: int) -> Turn:
        require_turn_text(turn)
        self._resting.goes_on(turn.conversation_id)
        await self._inserts.insert(turn, lease_ms=lease_ms)
        return turn

    async def bring(self, turns: Sequence[Turn], *, at: int) -> None:
        for turn in turns:
            require_brought(turn)
        for first in range(0, len(turns), BROUGHT_TOGETHER):
            some = turns[first : first + BROUGHT_TOGETHER]
            # All at once are one bulk write, in their order: no number is left out.
            outcomes = await asyncio.gather(*map(self._bring_one, some), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        if turns:
            last = turns[-1]
            try:
                await self._conversations.touch(msgspec.structs.replace(last, created_at=at))
            except NotFound:
                for turn in turns:
                    await self.remove(turn)
                raise
            await self._superseding.follow(last)
            self._resting.forget(last.conversation_id)

    async def _bring_one(self, turn: Turn) -> None:
        try:
            await self.insert(turn, lease_ms=0)
        except Duplicate:
            kept = await self.get(turn.conversation_id, turn.id)
            if kept is None or kept.digest != turn.digest:
                raise

    async def take_in(
        self, turn: Turn, *, lease_ms: int, context: dict[str, Any] | None = None
    ) -> Turn | None:
        """Have a turn as another store has it: whatever its status, with its answer and its holder,
        whose lease begins now. Harmless when repeated.

        Where its id is here already, the turn is brought to what it came to there; only while it is
        open here, not superseded, has not ended, and nobody has tried it since: it waits, is of the
        same attempt and owner, or of an earlier attempt.

        The turn as it is kept, also where it has ended here in just this way; ``close`` is yet to
        be called for one that has ended. None where it was not taken: another attempt has it, it is
        superseded, ended otherwise, or was removed in this moment. Raises what ``insert`` raises,
        and ``Duplicate`` where its id is another conversation's.
        """
        taken = await self._taking_in.take_in(turn, lease_ms=lease_ms)
        if taken is not None and context is not None:
            async with self._connection.operation() as collections:
                await collections.turns.update_one(
                    {"_id": turn.id}, {"$set": {"context": as_text(context)}}
                )
        return taken

    async def recount(self, conversation_id: str) -> bool:
        """Mend the turns' counts of answers, where one was taken in before others; whether there
        was anything to mend. Where one stands behind such as have not ended yet, they are counted
        anew as these end."""
        self._resting.forget(conversation_id)
        return await self._taking_in.recount(conversation_id)

    async def choose(self, turn: Turn, choice: Choice) -> bool:
        require_choice_text(choice)
        as_inserted: Document = {"_id": turn.id, **OPEN, "status": turn.status}
        as_inserted |= {"attempt": turn.attempt, "owner": turn.owner}
        async with self._connection.operation() as collections:
            chosen = await collections.turns.update_one(
                as_inserted, {"$set": {"choice": msgspec.to_builtins(choice)}}
            )
        return chosen.matched_count > 0

    async def require_rewritable(self, conversation_id: str) -> None:
        return None

    async def supersede(self, turn: Turn) -> list[Turn]:
        require_rewriting(turn)
        superseded = await self._superseding.supersede(turn)
        await forget_superseded(self._facts, turn)
        return superseded

    async def remove(self, turn: Turn) -> None:
        async with self._connection.operation() as collections:
            await collections.turns.delete_one(
                {"_id": turn.id, "conversation": turn.conversation_id}
            )

    async def claim(self, turn: Turn, owner: str, *, lease_ms: int) -> Turn | None:
        if turn.status not in ("queued", "running"):
            return None
        # First the look whether it is the earliest, then the conditional update: in between no
        # earlier one can open, because numbers only grow and what has closed stays closed. Should a
        # later one start meanwhile, the index of running turns refuses this one.
        open_here = {"conversation": turn.conversation_id, **OPEN}
        as_read = {"_id": turn.id, **OPEN, "status": turn.status, "owner": turn.owner}
        as_read |= {"attempt": turn.attempt}
        if turn.status == "running":
            as_read |= LEASE_OVER
        run: Document = {
            "status": "running",
            "attempt": {"$add": ["$attempt", 1]},
            "owner": {"$literal": owner},
            "lease_until": {"$add": ["$$NOW", lease_ms]},
        }
        async with self._connection.operation() as collections:
            earliest = await collections.turns.find_one(open_here, {"_id": 1}, sort=OLDEST_FIRST)
            if earliest is None or earliest["_id"] != turn.id:
                return None
            try:
                claimed = await collections.turns.find_one_and_update(
                    as_read, [{"$set": run}], return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                return None
        return None if claimed is None else turn_record(claimed)

    async def renew(
        self, turn_ids: Collection[str], owner: str, *, lease_ms: int
    ) -> dict[str, bool]:
        held: Document = {"_id": {"$in": list(turn_ids)}, "owner": owner, **OPEN}
        lease = {"lease_until": {"$add": ["$$NOW", lease_ms]}}
        async with self._connection.operation() as collections:
            await collections.turns.update_many(held, [{"$set": lease}])
            found = await collections.turns.find(held, {"stop_requested": 1}).to_list()
        return {document["_id"]: document["stop_requested"] for document in found}

    async def release(self, owner: str) -> int:
        # ";" is the character after ":", so the range is what begins with "owner:".
        theirs = [{"owner": owner}, {"owner": {"$gte": owner + ":", "$lt": owner + ";"}}]
        held: Document = {"$or": theirs, "lease_until": {"$gt": LONG_OVER}, **OPEN}
        async with self._connection.operation() as collections:
            released = await collections.turns.update_many(
                held, {"$set": {"lease_until": LONG_OVER}}
            )
        return released.matched_count

    async def adrift(self, limit: int) -> list[Turn]:
        earlier = [{"$eq": ["$conversation", "$$conversation"]}, {"$lt": ["$n", "$$n"]}]
        look_up_earlier = {
            "from": "turns",
            "let": {"conversation": "$conversation", "n": "$n"},
            "pipeline": [
                {"$match": {**OPEN, "$expr": {"$and": earlier}}},
                {"$limit": 1},
                {"$project": {"_id": 1}},
            ],
            "as": "earlier",
        }
        async with self._connection.operation() as collections:
            found = await aggregated(
                collections.turns,
                [
                    {"$match": {**OPEN, **LEASE_OVER}},
                    {"$sort": {"lease_until": 1}},
                    {"$lookup": look_up_earlier},
                    {"$match": {"earlier": []}},
                    {"$limit": limit},
                ],
            )
        return [turn_record(document) for document in found]

    async def request_stop(self, conversation_id: str, turn_id: str) -> Turn | None:
        queued = {"$eq": ["$status", "queued"]}
        unended = {"$in": ["$status", ["queued", "running"]]}
        # One stage, so both conditions are of the status as it was.
        stop: Document = {
            "stop_requested": {"$or": ["$stop_requested", unended]},
            "status": {"$cond": [queued, "stopped", "$status"]},
        }
        async with self._connection.operation() as collections:
            found = await collections.turns.find_one_and_update(
                {"_id": turn_id, "conversation": conversation_id},
                [{"$set": stop}],
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else turn_record(found)

    async def note_tools(self, turn: Turn, uses: Sequence[ToolUse]) -> bool:
        async with self._connection.operation() as collections:
            noted = await collections.turns.update_one(
                _held(turn), {"$set": {"tools": as_text(uses)}}
            )
        return noted.matched_count == 1

    async def finish(
        self,
        turn: Turn,
        status: TurnStatus,
        answer: Answer | None,
        error: TurnError | None = None,
        context: dict[str, Any] | None = None,
    ) -> Turn | None:
        require_end(status)
        require_end_text(answer, error)
        # Turns before a running one have ended, so their count can't change under this.
        before = self._resting.answers_before(turn)
        if before is None:
            before = await self.answers_before(turn)
        end: Document = {
            "status": status,
            "answer": answer_document(answer),
            "error": msgspec.to_builtins(error),
            "answers": before + (answer is not None),
        }
        if context is not None:
            end["context"] = as_text(context)
        async with self._connection.operation() as collections:
            ended = await collections.turns.find_one_and_update(
                _held(turn),
                {"$set": end, "$unset": {"tools": ""}},
                RECORD,
                return_document=ReturnDocument.AFTER,
            )
        if ended is not None:
            if ended.get("is_counted_after"):
                await self.recount(turn.conversation_id)
            return turn_record(ended)
        found = await self.get(turn.conversation_id, turn.id)
        if found is None or not is_end_of(found, turn, status, answer):
            return None
        if await self._taking_in.is_counted_after(found):
            await self.recount(found.conversation_id)
        return found

    async def set_feedback(
        self, conversation_id: str, message_id: str, feedback: Feedback | None
    ) -> Turn | None:
        found = await self.answered_by(conversation_id, message_id)
        if found is None:
            return None
        change = {"$unset": {"feedback": ""}}
        if feedback is not None:
            require_text(feedback.comment)
            change = {"$set": {"feedback": msgspec.to_builtins(feedback)}}
        async with self._connection.operation() as collections:
            changed = await collections.turns.find_one_and_update(
                {"_id": found, **CURRENT}, change, RECORD, return_document=ReturnDocument.AFTER
            )
        return None if changed is None else turn_record(changed)

    async def close(self, turn: Turn, *, soon: bool = False) -> bool:
        return await self._closing.close(turn, soon=soon)

    async def finish_groups(self) -> None:
        """Waits for the groups under way; the store is about to close."""
        await self._inserts.close()
        await self._closing.finish()


def _held(turn: Turn) -> Document:
    """Running, and still by this attempt of this owner."""
    return {
        "_id": turn.id,
        **OPEN,
        "status": "running",
        "attempt": turn.attempt,
        "owner": turn.owner,
    }
