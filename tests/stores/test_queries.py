"""No query walks through everything there is: each has its index."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from embedded import attachments, conversations, erasures, facts, statements, usage
from embedded.store import EmbeddedStore
from memory.errors import DuplicateNumber
from memory.records import Answer, Attachment
from mongo.store import MongoStore
from stores.attachments import Origin
from stores.contract import Store
from stores.erasures import Erasure
from tests.stores.conftest import connected
from tests.stores.samples import (
    LEASE,
    ME,
    OVER,
    USER,
    a_conversation,
    a_turn,
    an_exchange,
    claimed,
    closed,
    edited,
    finished,
    inserted,
    sent,
)
from tests.stores.test_bringing import brought
from tests.support.mongod import Mongod

SQL = {
    f"{module.__name__}.{name}": text
    for module in (attachments, conversations, erasures, facts, statements, usage)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str)
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    file = tmp_path_factory.mktemp("plans") / "store.db"

    async def make() -> None:
        async with connected(EmbeddedStore(file)):
            pass

    asyncio.run(make())
    with closing(sqlite3.connect(file)) as connection:
        yield connection


@pytest.mark.parametrize("sql", SQL.values(), ids=SQL.keys())
def test_every_statement_of_the_embedded_store_uses_an_index(
    tables: sqlite3.Connection, sql: str
) -> None:
    parameters: dict[str, Any] = dict.fromkeys(re.findall(r":(\w+)", sql), "[]")
    plan = [row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    walks = [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
    assert not walks
    assert not [step for step in plan if "ORDER BY" in step]


async def used(store: Store) -> None:
    """Every method once, among conversations that are none of its business."""
    for user_id in (*(f"user-{i}" for i in range(40)), USER):
        nobody = await store.facts.of(user_id)
        known = nobody.read_upto("some", 1)
        await store.facts.keep(user_id, known, over="")
        await store.facts.keep(user_id, nobody.read_upto("some", 2), over="")
        await store.facts.keep(user_id, known.read_upto("some", 3), over=known.stamp)
    await store.facts.forget("user-7")
    for i in range(40):
        await store.erasures.begin(Erasure(f"user-{i}", i + 1))
    await store.erasures.of("user-7")
    await store.erasures.unfinished(5)
    await store.erasures.done(Erasure("user-7", 8))
    await store.turns.since("other-3", 1, 5)
    fresh = await a_conversation(store)
    await store.turns.bring(brought(fresh, 2), at=9)
    await store.conversations.configure(fresh, USER, model="larger")
    for i in range(40):
        await an_exchange(store, f"other-{i}", 1)
        await a_conversation(store, f"user-{i}")
    conversation_id = await a_conversation(store)
    await a_conversation(store)
    for n in range(1, 41):
        turn = await an_exchange(store, conversation_id, n, answer=n < 20)
    waiting = await inserted(store, a_turn(conversation_id, 41), OVER)
    turns = store.turns
    await turns.get(conversation_id, turn.id)
    await turns.by_message(USER, turn.question.message_id)
    await turns.last(conversation_id)
    await turns.open_turns(conversation_id)
    await turns.at_place(conversation_id, 30)
    await turns.before(conversation_id, 30, 5)
    await turns.adrift(10)
    running = await claimed(store, waiting)
    await turns.renew([running.id], ME, lease_ms=LEASE)
    await turns.release("slot-1")
    await turns.request_stop(conversation_id, running.id)
    await turns.remove(running)
    edit = await edited(store, conversation_id, 30, status="running")
    await turns.supersede(edit)
    await closed(store, await finished(store, edit))
    await sent(store, conversation_id)
    await turns.before(conversation_id, None, 5)
    await turns.before(conversation_id, 30, 5)
    await turns.at_place(conversation_id, 29)
    with pytest.raises(DuplicateNumber):
        await inserted(store, a_turn(conversation_id, 35))
    await store.conversations.positions([conversation_id])
    for before in (None, (10_000, "x")):
        await store.conversations.list(USER, before=before, limit=10)
    await store.load(conversation_id, 10)
    await store.messages_after(conversation_id, 50, 3)
    for i in range(40):
        picture = Attachment(id=f"p{i}", type="image", media_type="image/png", size=i)
        origin = Origin(f"user-{i}", f"other-{i}", "k")
        await store.attachments.put(origin, [(picture, b"x")], at=i)
    await store.attachments.bytes_of("user-3", but_for="none")
    await store.attachments.unclaimed(before=3, limit=5)
    await store.attachments.get("other-3", "p3")
    await store.attachments.claim(["p1"])
    await store.attachments.remove_unclaimed(["p1", "p2"], before=9)
    for day in range(20):
        await store.usage.note_spent("us", day, 5)
        await store.usage.note_spent("others", day, 5)
    await store.usage.of_conversation(conversation_id, 0)
    for i in range(10):
        gone = await a_conversation(store, f"user-{i}", at=4_000)
        used = Answer(message_id="a", content="", status="complete", created_at=1, usage={"x": 1})
        answering = await inserted(store, a_turn(gone, status="running"))
        await store.turns.finish(answering, "completed", used)
        await store.conversations.delete(gone, f"user-{i}")
        await store.usage.of_user(f"user-{i}", 0)
        await store.conversations.purge(gone)
        await store.usage.of_user(f"user-{i}", 0)
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.unpurged(10)
    await store.conversations.purge(conversation_id)


async def test_every_query_to_mongodb_uses_an_index(mongod: Mongod, mongo_database: str) -> None:
    async with connected(MongoStore(mongod.uri, mongo_database)) as store:
        with mongod.client() as client:
            client[mongo_database].command("profile", 2)
            await used(store)
            client[mongo_database].command("profile", 0)
            profile = list(
                client[mongo_database]["system.profile"].find({"planSummary": {"$exists": True}})
            )
    assert len(profile) > 100
    for entry in profile:
        told = (entry["command"], entry["planSummary"])
        assert "COLLSCAN" not in entry["planSummary"], told
        assert not entry.get("hasSortStage"), told
        # Of 43 turns of one conversation and 40 of others, a query looks at what it gives, and a
        # few. A purge gives nothing of what it removes, an edit of what it marks.
        given = max(entry.get(count, 0) for count in ("nreturned", "ndeleted", "nModified"))
        assert entry.get("docsExamined", 0) <= given + 3, told
