"""Group commit of new turns: all that wait go to MongoDB as one unordered bulk write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from memory.errors import (
    Duplicate,
    DuplicateMessage,
    DuplicateNumber,
    DuplicateRunning,
    RememberingError,
    Unavailable,
)
from memory.records import Turn
from mongo.client import OPERATION_SECONDS, Connection
from mongo.collections import (
    CURRENT,
    MESSAGE_INDEX,
    NUMBER_INDEX,
    RUNNING_INDEX,
    SUPERSEDED,
    Collections,
    Document,
)
from mongo.documents import turn_document
from mongo.errors import refusal
from stores.group_commit import GroupCommit

# 100 messages of 100,000 characters still fit one message to the server (48 MB) and its time.
MOST_TOGETHER = 100
MOST_WAITING = 5_000
# Most of a group that is on its way when a caller comes, and then its own.
PATIENCE_SECONDS = OPERATION_SECONDS + 1

DUPLICATE_KEY = 11000


class Insertion(msgspec.Struct, frozen=True):
    turn: Turn
    lease_ms: int

    def as_operation(self) -> UpdateOne:
        """An upsert that only ever inserts: an insert can't say "now" by the server's clock.

        The filter matches nothing: where the id is in use, the document has a conversation, the
        upsert tries to insert all the same, and meets the index of ids.
        """
        document = {"$literal": turn_document(self.turn)}
        lease = {"lease_until": {"$add": ["$$NOW", self.lease_ms]}}
        return UpdateOne(
            {"_id": self.turn.id, "conversation": {"$exists": False}},
            [{"$replaceWith": {"$mergeObjects": [document, lease]}}],
            upsert=True,
        )


class TurnInserts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._group: GroupCommit[Insertion, None] = GroupCommit(
            self._write,
            most_together=MOST_TOGETHER,
            most_waiting=MOST_WAITING,
            patience=PATIENCE_SECONDS,
        )

    async def insert(self, turn: Turn, *, lease_ms: int) -> None:
        await self._group.submit(Insertion(turn, lease_ms))

    async def close(self) -> None:
        await self._group.close()

    async def _write(self, insertions: list[Insertion]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(insertions)
        async with self._connection.operation() as collections:
            try:
                await collections.turns.bulk_write(
                    [insertion.as_operation() for insertion in insertions], ordered=False
                )
            except BulkWriteError as error:
                refused = _refusals(error)
                taken = await _taken(collections, [insertions[i].turn for i in refused])
                for i, (code, index) in refused.items():
                    outcomes[i] = _outcome(insertions[i].turn, code, index, taken)
        return outcomes


_KEY_FIELDS = ("user", "question.message_id", "conversation", "n")


class _Keys(msgspec.Struct, frozen=True):
    messages: set[tuple[str, str]]
    numbers: set[tuple[str, int]]


async def _taken(collections: Collections, turns: list[Turn]) -> _Keys:
    """Which messages and numbers of ``turns`` are in use: an error names only the first index that
    was hit, and a retried message meets its number and the running turn as well as itself."""
    either: list[Document] = []
    for turn in turns:
        number = {"conversation": turn.conversation_id, "n": turn.n}
        either.append({"user": turn.user_id, "question.message_id": turn.question.call_key})
        either += [{**number, **CURRENT}, {**number, **SUPERSEDED}]
    found = await collections.turns.find({"$or": either}, dict.fromkeys(_KEY_FIELDS, 1)).to_list()
    return _Keys(
        messages={(turn["user"], turn["question"]["message_id"]) for turn in found},
        numbers={(turn["conversation"], turn["n"]) for turn in found},
    )


def _refusals(error: BulkWriteError) -> dict[int, tuple[int, str]]:
    """By index in the group: the error's code and, of a duplicate, the index that was hit."""
    details: Mapping[str, Any] = error.details
    if details.get("writeConcernErrors"):
        # Written here, but no majority has it: neither accepted nor refused.
        raise Unavailable("MongoDB could not have the write acknowledged by a majority.") from error
    return {
        refused["index"]: (refused["code"], _INDEXES.get(tuple(refused.get("keyPattern", ())), ""))
        for refused in details["writeErrors"]
    }


_INDEXES = {
    ("user", "question.message_id"): MESSAGE_INDEX,
    ("conversation", "n"): NUMBER_INDEX,
    ("n", "conversation"): NUMBER_INDEX,
    ("conversation",): RUNNING_INDEX,
}


def _outcome(turn: Turn, code: int, index: str, taken: _Keys) -> RememberingError:
    if code != DUPLICATE_KEY:
        return refusal(code)
    if index == MESSAGE_INDEX or (turn.user_id, turn.question.call_key) in taken.messages:
        return DuplicateMessage()
    if index == NUMBER_INDEX or (turn.conversation_id, turn.n) in taken.numbers:
        return DuplicateNumber()
    if index == RUNNING_INDEX:
        return DuplicateRunning()
    return Duplicate("A turn with this id exists already.")
