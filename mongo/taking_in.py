"""Turns that come from another store, as far as they came there.

Such a turn may be here already: accepted before MongoDB went away, brought by an insert that nobody
heard the outcome of, or by a drain that was broken off. So all of this may be repeated.
"""

from __future__ import annotations

import msgspec
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from memory.errors import Duplicate, DuplicateRunning, Unavailable
from memory.records import ENDED, Turn
from mongo.batching import TurnInserts
from mongo.client import Connection
from mongo.collections import ALIVE, CURRENT, OPEN, Document
from mongo.documents import answer_document, as_text, turn_record
from mongo.turn_reads import TurnReads
from stores.rules import is_end_of, require_end_text, require_turn_text

# Each is another end in the moment between two operations.
MOST_COUNTS = 20


class TakingIn:
    def __init__(self, connection: Connection, inserts: TurnInserts, reads: TurnReads) -> None:
        self._connection = connection
        self._inserts = inserts
        self._reads = reads

    async def take_in(self, turn: Turn, *, lease_ms: int) -> Turn | None:
        """See ``MongoTurns.take_in``."""
        require_turn_text(turn)
        require_end_text(turn.answer, turn.error)
        try:
            await self._inserts.insert(turn, lease_ms=lease_ms)
        except Duplicate:
            if await self._reads.get(turn.conversation_id, turn.id) is None:
                raise
        else:
            return msgspec.structs.replace(turn, spooled=None)
        taken = await self._bring_along(turn, lease_ms)
        if taken is not None:
            return taken
        found = await self._reads.get(turn.conversation_id, turn.id)
        if found is None or turn.status not in ENDED:
            return None
        return found if is_end_of(found, turn, turn.status, turn.answer) else None

    async def recount(self, conversation_id: str) -> bool:
        """See ``MongoTurns.recount``."""
        is_mended = False
        for _ in range(MOST_COUNTS):
            wrong, awaited = await self._count(conversation_id)
            is_mended = is_mended or wrong
            if not await self._await_ends(awaited):
                return is_mended
        raise Unavailable("The conversation changes too quickly to be counted.")

    async def is_counted_after(self, turn: Turn) -> bool:
        """Whether a turn that came back from a spool was counted while this one had no end yet."""
        query: Document = {"_id": turn.id, "is_counted_after": True}
        async with self._connection.operation() as collections:
            return await collections.turns.find_one(query, {"_id": 1}) is not None

    async def _await_ends(self, turn_ids: list[str]) -> bool:
        """Have these turns counted anew as they end; whether one of them just has."""
        if not turn_ids:
            return False
        these: Document = {"_id": {"$in": turn_ids}}
        async with self._connection.operation() as collections:
            await collections.turns.update_many(
                {**these, **OPEN}, {"$set": {"is_counted_after": True}}
            )
            counted = {**these, "answers": {"$ne": None}}
            return await collections.turns.find_one(counted, {"_id": 1}) is not None

    async def _count(self, conversation_id: str) -> tuple[bool, list[str]]:
        """Whether there was anything to mend; and the turns, without an end yet, that stand before
        one that is counted: what came back from a spool has ended behind them."""
        query: Document = {"conversation": conversation_id, **CURRENT}
        fields = {"n": 1, "place": 1, "open": 1, "answer.status": 1, "answers": 1}
        wrong: list[UpdateOne] = []
        unended: list[str] = []
        awaited: list[str] = []
        count = closed = 0
        async with self._connection.operation() as collections:
            # Before the turns: an edit in between has another revision, and counts for itself.
            conversation = await collections.conversations.find_one(
                {"_id": conversation_id, **ALIVE}, {"revision": 1}
            )
            for turn in await collections.turns.find(query, fields).sort("n", 1).to_list():
                count += turn.get("answer") is not None
                closed = closed if turn["open"] else count
                if turn.get("answers") is None and turn["open"]:
                    unended.append(turn["_id"])
                elif turn.get("answers") is not None:
                    awaited += unended
                    unended = []
                if turn.get("answers") not in (None, count):
                    was = {"_id": turn["_id"], "answers": turn["answers"]}
                    wrong.append(UpdateOne(was, {"$set": {"answers": count}}))
            if not wrong or conversation is None:
                return False, awaited
            await collections.turns.bulk_write(wrong, ordered=False)
            await collections.conversations.update_one(
                {"_id": conversation_id, **ALIVE, "revision": conversation["revision"]},
                {"$max": {"answers": closed}},
            )
        return True, awaited

    async def _bring_along(self, turn: Turn, lease_ms: int) -> Turn | None:
        """Let the stored turn be as this one; None where it is another's, or has ended."""
        is_same_try: Document = {"attempt": turn.attempt}
        if turn.status not in ENDED:
            is_same_try["$or"] = [{"owner": turn.owner}, {"status": "queued"}]
        # An end was told where it came to it, and stays. Whoever runs the same attempt has accepted
        # the message as well, and nobody here heard of that: it can't end the turn any more.
        held: Document = {
            "_id": turn.id,
            "conversation": turn.conversation_id,
            **OPEN,
            "status": {"$in": ["queued", "running"]},
            "$or": [{"attempt": {"$lt": turn.attempt}}, is_same_try],
        }
        tools: Document = {}
        if turn.status in ENDED:
            tools = {"tools": "$$REMOVE"}
        elif turn.tools:
            tools = {"tools": {"$literal": as_text(turn.tools)}}
        as_there: Document = {
            "status": turn.status,
            "open": turn.open,
            "attempt": turn.attempt,
            "owner": {"$literal": turn.owner},
            "stop_requested": turn.stop_requested,
            "answer": {"$literal": answer_document(turn.answer)},
            "error": {"$literal": msgspec.to_builtins(turn.error)},
            "answers": {"$literal": turn.answers},
            "choice": {"$literal": msgspec.to_builtins(turn.choice)},
            **tools,
            "lease_until": {"$add": ["$$NOW", lease_ms]},
        }
        async with self._connection.operation() as collections:
            try:
                taken = await collections.turns.find_one_and_update(
                    held, [{"$set": as_there}], return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError as error:  # of the indexes' fields only its status changes
                raise DuplicateRunning from error
        return None if taken is None else turn_record(taken)
