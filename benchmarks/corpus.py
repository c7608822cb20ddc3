"""Stores filled with many ended turns, and the query that a careful hand would write for them."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from benchmarks.samples import ENDED_TURNS_A_CONVERSATION, ended_turns
from embedded.conversations import CREATE
from embedded.rows import turn_row
from embedded.statements import INSERT, LATEST
from memory.records import Choice, Turn
from mongo.collections import CONVERSATION_INDEXES, CURRENT, TURN_INDEXES, Document
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
        {"id": name, "user": "user", "title": "", "at": 1, "digest": None, "choice": None}
        for name in conversations(turns)
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(CREATE, made)
        connection.executemany(INSERT, rows)
        connection.execute(
            "UPDATE conversations SET turn = ?1, answers = ?1", (ENDED_TURNS_A_CONVERSATION,)
        )


@contextmanager
def plain_sqlite_queries(path: Path) -> Iterator[dict[str, Query]]:
    """SQLite alone: what its query costs in this thread; and in another, as a server must ask that
    has something else to do meanwhile."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:

        def query(conversation_id: str) -> list[Any]:
            parameters = {"conversation": conversation_id, "limit": TURNS_OF_50_MESSAGES}
            return connection.execute(LATEST, parameters).fetchall()

        async def here(conversation_id: str) -> list[Any]:
            return query(conversation_id)

        async def in_a_thread(conversation_id: str) -> list[Any]:
            return await asyncio.to_thread(query, conversation_id)

        yield {"the plain query": here, "the same in a thread": in_a_thread}


@contextmanager
def plain_sqlite_insert(path: Path) -> Iterator[Callable[[Turn], Awaitable[None]]]:
    """SQLite alone, in this thread: each turn a commit of its own, synced to the disk. The store
    must have made the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")

        async def insert(turn: Turn) -> None:
            connection.execute(INSERT, {**turn_row(turn), "lease_until": 0})

        yield insert


def fill_mongodb(uri: str, name: str, turns: int) -> None:
    """A new database. The indexes are made in the end, which is quicker, and just as a store would
    make them."""
    position = {"turn": ENDED_TURNS_A_CONVERSATION, "answers": ENDED_TURNS_A_CONVERSATION}
    with MongoClient[Document](uri, w=1, journal=False) as client:
        database = client[name]
        made = (
            {**conversation_document(name, "user", "", None, 1, Choice()), **position}
            for name in conversations(turns)
        )
        _insert_all(database["conversations"], made)
        _insert_all(database["turns"], map(turn_document, ended_turns(turns)))
        database["conversations"].create_indexes(CONVERSATION_INDEXES)
        database["turns"].create_indexes(TURN_INDEXES)
    # Reads see what a majority has; once it has this, it has all before it.
    with MongoClient[Document](uri, w="majority") as client:
        client[name]["probes"].insert_one({})


def _insert_all(collection: Any, documents: Iterator[Document]) -> None:
    while batch := list(islice(documents, A_BATCH)):
        collection.insert_many(batch, ordered=False)


def plain_mongodb_query(database: Any) -> Query:
    async def query(conversation_id: str) -> list[Any]:
        found = database["turns"].find({"conversation": conversation_id, **CURRENT})
        cursor = found.sort("n", -1).limit(TURNS_OF_50_MESSAGES)
        documents: list[Any] = await cursor.to_list(None)
        return documents

    return query
