"""Stores filled with many ended turns, and the query that a careful hand would write for them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo import WriteConcern

from benchmarks.samples import ENDED_TURNS_A_CONVERSATION, ended_turns
from embedded.conversations import CREATE
from embedded.rows import turn_row
from embedded.statements import INSERT, LATEST
from mongo.collections import CURRENT, Document
from mongo.documents import conversation_document, turn_document

TURNS_OF_50_MESSAGES = 25
A_BATCH = 2_000

Query = Callable[[str], Awaitable[list[Any]]]


def any_conversation(turns: int) -> str:
    """One of those that ``turns`` ended turns make."""
    return f"conversation-{random.randrange(turns // ENDED_TURNS_A_CONVERSATION)}"


def conversations(turns: int) -> Iterator[str]:
    return (f"conversation-{i}" for i in range(turns // ENDED_TURNS_A_CONVERSATION))


def fill_embedded(path: Path, turns: int) -> None:
    """The store must have made the file."""
    rows = ({**turn_row(turn), "lease_until": 0} for turn in ended_turns(turns))
    made = (
        {"id": name, "user": "user", "title": "", "at": 1, "digest": None}
        for name in conversations(turns)
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(CREATE, made)
        connection.executemany(INSERT, rows)


@contextmanager
def plain_sqlite_query(path: Path) -> Iterator[Query]:
    """SQLite alone, in this thread: what its query costs, without a thread between."""
    with closing(sqlite3.connect(path)) as connection:

        async def query(conversation_id: str) -> list[Any]:
            parameters = {"conversation": conversation_id, "limit": TURNS_OF_50_MESSAGES}
            return connection.execute(LATEST, parameters).fetchall()

        yield query


async def fill_mongodb(database: Any, turns: int) -> None:
    """The store must have made the indexes."""
    quick = database.with_options(write_concern=WriteConcern(w=1, j=False))
    made = (conversation_document(name, "user", "", None, 1) for name in conversations(turns))
    await _insert_all(quick["conversations"], made)
    await _insert_all(quick["turns"], map(turn_document, ended_turns(turns)))
    # Reads see what a majority has; once it has this, it has all before it.
    await database["probes"].insert_one({})


async def _insert_all(collection: Any, documents: Iterator[Document]) -> None:
    while batch := list(islice(documents, A_BATCH)):
        await collection.insert_many(batch, ordered=False)


def plain_mongodb_query(database: Any) -> Query:
    async def query(conversation_id: str) -> list[Any]:
        found = database["turns"].find({"conversation": conversation_id, **CURRENT})
        cursor = found.sort("n", -1).limit(TURNS_OF_50_MESSAGES)
        documents: list[Any] = await cursor.to_list(None)
        return documents

    return query
