"""What an earlier version of this program left in a store is read, and goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedded.schema import VERSION
from embedded.store import EmbeddedStore
from memory.records import Position, Turn
from stores.contract import Store
from tests.stores.conftest import connected
from tests.stores.samples import (
    LEASE,
    USER,
    a_conversation,
    a_turn,
    an_exchange,
    edited,
    exchanges,
    inserted,
)
from tests.support.mongod import Mongod

# The tables of version 1, as they were.
VERSION_ONE = """
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY NOT NULL, user TEXT NOT NULL, title TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, digest TEXT,
        revision INTEGER NOT NULL DEFAULT 0, turn INTEGER NOT NULL DEFAULT 0,
        answers INTEGER NOT NULL DEFAULT 0, summary TEXT,
        summary_version INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0,
        deleted_at INTEGER, purged INTEGER
    );
    CREATE INDEX conversations_of_a_user ON conversations (user, updated_at DESC, id DESC)
        WHERE deleted = 0;
    CREATE INDEX conversations_unpurged ON conversations (deleted_at) WHERE purged = 0;
    CREATE TABLE turns (
        id TEXT PRIMARY KEY NOT NULL, conversation TEXT NOT NULL, user TEXT NOT NULL,
        n INTEGER NOT NULL, revision INTEGER NOT NULL, superseded INTEGER NOT NULL DEFAULT 0,
        message_id TEXT NOT NULL, content TEXT NOT NULL, asked_at INTEGER NOT NULL,
        digest TEXT NOT NULL, accepted TEXT NOT NULL, created_at INTEGER NOT NULL,
        status TEXT NOT NULL, open INTEGER NOT NULL, attempt INTEGER NOT NULL,
        stop_requested INTEGER NOT NULL, owner TEXT, lease_until INTEGER NOT NULL,
        answer TEXT, error TEXT, answers INTEGER
    );
    CREATE UNIQUE INDEX turns_one_a_message ON turns (user, message_id);
    CREATE UNIQUE INDEX turns_one_a_number ON turns (conversation, n) WHERE superseded = 0;
    CREATE UNIQUE INDEX turns_one_running ON turns (conversation)
        WHERE status = 'running' AND superseded = 0;
    CREATE INDEX turns_open ON turns (conversation, n) WHERE open = 1 AND superseded = 0;
    CREATE INDEX turns_leases ON turns (lease_until) WHERE open = 1 AND superseded = 0;
    CREATE INDEX turns_owners ON turns (owner) WHERE open = 1 AND superseded = 0;
    CREATE INDEX turns_of_a_conversation ON turns (conversation);
    CREATE TABLE secrets (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
    CREATE TABLE probes (name TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL);
    PRAGMA user_version = 1;
"""
ONE_CONVERSATION = """
    INSERT INTO conversations (id, user, title, created_at, updated_at, turn, answers)
    VALUES ('c1', 'user-1', 'Title', 1, 9, 1, 1)
"""
ONE_TURN = """
    INSERT INTO turns (
        id, conversation, user, n, revision, message_id, content, asked_at, digest, accepted,
        created_at, status, open, attempt, stop_requested, lease_until, answer, answers
    ) VALUES (
        't' || :n, 'c1', 'user-1', :n, 0, 'm' || :n, 'question', 1, 'd', 'running', 1,
        'completed', 0, 1, 0, 0, :answer, :n
    )
"""
AN_ANSWER = '{"message_id":"a","content":"answer","status":"complete","created_at":2,"usage":null}'


async def test_a_file_of_version_one_opens_and_is_of_this_version_then(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(VERSION_ONE)
        database.execute(ONE_CONVERSATION)
        database.execute(ONE_TURN, {"n": 1, "answer": AN_ANSWER})
        database.commit()
    async with connected(EmbeddedStore(file)) as store:
        kept = await store.turns.last("c1")
        assert kept is not None
        assert (kept.n, kept.place, kept.revision, kept.rewrites) == (1, 1, 0, False)
        assert [message.seq for message in (await store.load("c1", 50)).messages] == [1, 2]
        # An earlier version that was running meanwhile may still write as it knows to.
        with closing(sqlite3.connect(file)) as database:
            database.execute(ONE_TURN, {"n": 2, "answer": AN_ANSWER})
            database.commit()
        third = await an_exchange(store, "c1", 3)
        assert [turn.place for turn in await store.turns.before("c1", None, 5)] == [1, 2, 3]
        assert third.answers == 3
    async with connected(EmbeddedStore(file)) as store:  # once more: there is nothing left to do
        assert await store.turns.last("c1") == third
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    async with connected(EmbeddedStore(tmp_path / "new.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "new.db")) as database:
        assert names == {row[0] for row in database.execute("SELECT name FROM sqlite_master")}


async def test_a_process_waits_for_another_that_brings_the_file_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.database.LOCK_SECONDS", 0.1)
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.executescript(f"PRAGMA journal_mode = WAL; {VERSION_ONE}")
        other.execute("BEGIN IMMEDIATE")
        store = EmbeddedStore(file)
        opening = asyncio.create_task(store.connect())
        await asyncio.wait([opening], timeout=0.5)
        assert not opening.done()
        other.execute("COMMIT")
        await opening
        await an_exchange(store, "c1", 1)
        await store.close()


@pytest.fixture
def make_old(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Makes turns look as an earlier version wrote them, or a later one: with more fields."""
    absent = ["place", "rewrites", "superseded_by"]

    def mongo(*turns: Turn, **more: Any) -> None:
        server: Mongod = request.getfixturevalue("mongod")
        with server.client() as client:
            documents = client[request.getfixturevalue("mongo_database")]["turns"]
            change: dict[str, Any] = {"$unset": dict.fromkeys(absent, "")}
            change |= {"$set": more} if more else {}
            documents.update_many({"_id": {"$in": [turn.id for turn in turns]}}, change)

    def sqlite(*turns: Turn, **more: Any) -> None:
        file: Path = request.getfixturevalue("tmp_path") / "store.db"
        with closing(sqlite3.connect(file)) as database:
            for name in more:
                database.execute(f"ALTER TABLE turns ADD COLUMN {name} TEXT DEFAULT 'new'")
            for turn in turns:
                database.execute("UPDATE turns SET place = NULL WHERE id = ?", [turn.id])
            database.commit()

    return mongo if "mongo_database" in request.fixturenames else sqlite


async def test_the_place_of_a_turn_without_one_is_its_number(
    store: Store, make_old: Callable[..., None]
) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1))
    make_old(turn)
    assert await store.turns.get(conversation_id, turn.id) == turn
    assert await store.turns.by_message(USER, turn.question.message_id) == turn


async def test_an_unknown_field_breaks_no_reader(
    store: Store, make_old: Callable[..., None]
) -> None:
    conversation_id = await a_conversation(store)
    turn = await inserted(store, a_turn(conversation_id, 1))
    make_old(turn, mood="good")
    assert await store.turns.open_turns(conversation_id) == [turn]
    claimed = await store.turns.claim(turn, "slot", lease_ms=LEASE)
    assert claimed == msgspec.structs.replace(turn, status="running", attempt=1, owner="slot")


@pytest.mark.parametrize("old", [(1, 2, 3, 4), (1, 2, 4), (2, 3)])
async def test_turns_without_a_place_are_paged_and_edited_as_the_others(
    store: Store, make_old: Callable[..., None], old: tuple[int, ...]
) -> None:
    conversation_id = await a_conversation(store)
    turns = await exchanges(store, conversation_id, 4)
    make_old(*(turn for turn in turns if turn.n in old))

    async def numbers(place: int | None, limit: int) -> list[int]:
        return [turn.n for turn in await store.turns.before(conversation_id, place, limit)]

    assert await store.turns.before(conversation_id, None, 9) == turns
    assert await numbers(4, 2) == [2, 3]
    assert await numbers(2, 9) == [1]
    for n in range(1, 5):
        assert await store.turns.at_place(conversation_id, n) == turns[n - 1]
    after = await store.messages_after(conversation_id, 3, 3)
    assert [message.seq for message in after] == [4, 5, 6]

    edit = await edited(store, conversation_id, 3)
    assert [turn.n for turn in await store.turns.supersede(edit)] == [3, 4]
    assert await numbers(None, 9) == [1, 2, 5]
    assert await numbers(4, 2) == [2, 5]
    loaded = await store.load(conversation_id, 50)
    assert [message.seq for message in loaded.messages] == [1, 2, 3, 4, 5]
    assert loaded.position == Position(revision=1, turn=3, answers=2)
    assert (await store.conversations.get(conversation_id, USER)).position == loaded.position
