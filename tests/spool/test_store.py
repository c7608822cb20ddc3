"""The permanent store and the spool before it, put together."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from memory.errors import DuplicateNumber, NotFound, Unavailable
from memory.records import Conversation, Feedback, Position, ToolUse, Transcript
from mongo.store import MongoStore
from spool.cards import Cards
from spool.store import SpooledStore
from stores.contract import Drained
from tests.spool.knowing import session_for
from tests.stores.conftest import connected
from tests.stores.samples import USER, closed, edited, finished, next_turn, sent
from tests.support.client import new_id
from tests.support.mongod import Mongod
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

NO_REDIS = "redis://127.0.0.1:1/0"


def spooled_store(mongod: Mongod, data_dir: Path, redis_url: str) -> SpooledStore:
    permanent = MongoStore(mongod.uri, "spool_store", on_change=lambda away: store.changed(away))
    store = SpooledStore(
        permanent,
        data_dir=data_dir,
        slot=data_dir / "slot",
        slot_id="slot",
        owner="slot:boot",
        lease_ms=2_000,
        redis_url=redis_url,
    )
    return store


async def test_a_load_ends_where_the_store_comes_back_while_redis_is_away(
    mongod: Mongod, tmp_path: Path
) -> None:
    """Memory is asked first; by the time it has answered there is somebody better to ask."""
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    await store.connect()

    async def hot(conversation_id: str) -> Transcript | None:
        mongod.resume()
        await wait_until(lambda: not store.away, "the store is back")
        return None

    store.look_in(hot)
    try:
        mongod.pause()
        await wait_until(lambda: _noticed(store), "it is noticed")
        with pytest.raises(NotFound):
            async with asyncio.timeout(20):
                await store.load("never made", 50)
    finally:
        mongod.resume()
        await store.close()


async def test_a_conversation_does_not_come_to_lodge_when_the_store_is_back(
    mongod: Mongod, tmp_path: Path
) -> None:
    """It came back while it was still looked up what is known of the conversation. That may be
    less than all, where Redis hangs: and it would have been shown as if it were all."""
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    made = new_id()

    async def hot(conversation_id: str) -> Transcript | None:
        mongod.resume()
        await wait_until(lambda: not store.away, "the store is back")
        return None

    store.look_in(hot)
    async with connected(store):
        known = await store.conversations.create(new_id(), USER, "", digest=None, at=1)
        for conversation_id in (known[0].id, made):
            mongod.pause()
            try:
                await wait_until(lambda: _noticed(store), "it is noticed")
                async with asyncio.timeout(20):
                    if conversation_id == made:
                        _, is_new = await store.conversations.create(
                            made, USER, "", digest=None, at=1
                        )
                        assert is_new
                    turn = await sent(store, conversation_id, status="running", owner="slot:boot")
            finally:
                mongod.resume()
            async with connected(MongoStore(mongod.uri, "spool_store")) as there:
                kept = await there.turns.get(conversation_id, turn.id)
            assert kept is not None
            assert kept.spooled is None


async def _noticed(store: SpooledStore) -> bool:
    try:
        await store.ping()
    except Unavailable:
        return store.away
    return False


async def test_whether_a_message_is_known_is_not_told_while_nobody_can_tell(
    mongod: Mongod, tmp_path: Path
) -> None:
    """None would make an edit of it `not_found`."""
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    await store.connect()
    try:
        assert await store.turns.by_message("user", "never sent") is None
        mongod.pause()
        await wait_until(lambda: _noticed(store), "it is noticed")
        with pytest.raises(Unavailable):
            await store.turns.by_message("user", "never sent")
    finally:
        mongod.resume()
        await store.close()


async def test_a_conversation_that_is_being_drained_is_not_shown_empty(
    mongod: Mongod, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Another server brings it, and has come as far as its record."""
    store = spooled_store(mongod, tmp_path, redis_server.url)
    other = Cards()
    other.session = session_for(redis_server.url, other)
    await store.connect()
    await other.session.opened()
    conversation_id = new_id()
    try:
        fresh = Conversation(
            id=conversation_id, user_id="user", title="new", created_at=1, updated_at=1
        )
        other.note(fresh, made=True)
        await wait_until(lambda: other.read(conversation_id), "it is noted")
        async with connected(MongoStore(mongod.uri, "spool_store")) as there:
            await there.conversations.create(conversation_id, "user", "new", digest=None, at=1)
        with pytest.raises(Unavailable):
            await store.conversations.get(conversation_id, "user")
        await other.is_kept(conversation_id)
        assert (await store.conversations.get(conversation_id, "user")).title == "new"
    finally:
        await other.session.close()
        await store.close()


async def test_uses_of_tools_are_noted_before_while_and_after_the_store_is_away(
    mongod: Mongod, tmp_path: Path
) -> None:
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    await store.connect()
    conversation_id = new_id()
    first = ToolUse(id="1", name="look", status="finished", output="so")
    second = ToolUse(id="2", name="pay", status="started", may_repeat=False)
    third = ToolUse(id="2", name="pay", status="finished", output="paid", may_repeat=False)

    drained: list[Drained] = []

    async def told(one: Drained) -> None:
        drained.append(one)

    async def kept() -> list[ToolUse]:
        found = await store.turns.get(conversation_id, turn.id)
        return found.tools if found is not None else []

    try:
        await store.conversations.create(conversation_id, USER, "", digest=None, at=1)
        store.drain_to(told)
        turn = await sent(store, conversation_id, status="running", owner="slot:boot")
        assert await store.turns.note_tools(turn, [first])
        mongod.pause()
        await wait_until(lambda: _noticed(store), "it is noticed")
        assert await store.turns.note_tools(turn, [first, second])
        assert await kept() == [first, second]
        mongod.resume()
        await wait_until(lambda: drained, "it is drained")
        assert await kept() == [first, second]
        assert await store.turns.note_tools(turn, [first, third])
        async with connected(MongoStore(mongod.uri, "spool_store")) as there:
            found = await there.turns.get(conversation_id, turn.id)
            assert found is not None
            assert found.tools == [first, third]
    finally:
        mongod.resume()
        await store.close()


async def test_a_turn_is_closed_as_it_was_drained_and_not_as_it_ended_in_the_spool(
    mongod: Mongod, tmp_path: Path
) -> None:
    """Another server has edited the first message meanwhile: this is the second by then, and was
    the third."""
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    conversation_id = new_id()

    async def told(_: Drained) -> None:
        return None

    async with connected(store), connected(MongoStore(mongod.uri, "spool_store")) as there:
        await store.conversations.create(conversation_id, USER, "", digest=None, at=1)
        for _ in range(2):
            turn = await sent(store, conversation_id, status="running", owner="slot:boot")
            await closed(store, await finished(store, turn))
        mongod.pause()
        try:
            await wait_until(lambda: _noticed(store), "it is noticed")
            turn = await sent(store, conversation_id, status="running", owner="slot:boot")
            ended = await finished(store, turn)
            assert (ended.place, ended.answers) == (3, 3)
        finally:
            mongod.resume()
        edit = await edited(there, conversation_id, 1, status="running")
        await closed(there, await finished(there, edit))
        store.drain_to(told)
        await wait_until(lambda: store.drained == 1, "it is drained")
        await closed(store, ended)
        for each in (store, there):
            conversation = await each.conversations.get(conversation_id, USER)
            assert conversation.position == Position(revision=1, turn=2, answers=2)
        assert await there.turns.open_turns(conversation_id) == []


async def test_a_turn_whose_end_was_told_does_not_run_again_where_mongodb_goes_before_it_is_closed(
    mongod: Mongod, tmp_path: Path
) -> None:
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    conversation_id = new_id()
    async with connected(store):
        await store.conversations.create(conversation_id, USER, "", digest=None, at=1)
        turn = await sent(store, conversation_id, status="running", owner="slot:boot")
        ended = await finished(store, turn)
        mongod.pause()
        try:
            await wait_until(lambda: _noticed(store), "it is noticed")
            await sent(store, conversation_id)  # by whom the conversation is put together
            first, second = await store.turns.open_turns(conversation_id)
            assert (first.id, first.status, first.answer) == (turn.id, "completed", ended.answer)
            assert second.status == "queued"
            assert await store.turns.close(ended, soon=True) is True
            assert await store.turns.open_turns(conversation_id) == [second]
        finally:
            mongod.resume()


async def test_the_number_of_a_superseded_turn_is_not_given_again_in_the_spool(
    mongod: Mongod, tmp_path: Path
) -> None:
    """Whoever took a number as the store went away, from what it had in mind: edited since, on
    another server. What is put there would pass for a copy of what is in the permanent store."""
    store = spooled_store(mongod, tmp_path, NO_REDIS)
    conversation_id = new_id()
    async with connected(store):
        await store.conversations.create(conversation_id, USER, "", digest=None, at=1)
        first = await sent(store, conversation_id, status="running", owner="slot:boot")
        await closed(store, await finished(store, first))
        stale = await next_turn(store, conversation_id, status="running", owner="slot:boot")
        second = await sent(store, conversation_id, status="running", owner="slot:boot")
        await closed(store, await finished(store, second))
        edit = await edited(store, conversation_id, 1, status="running", owner="slot:boot")
        await closed(store, await finished(store, edit))
        mongod.pause()
        try:
            await wait_until(lambda: _noticed(store), "it is noticed")
            assert stale.n == second.n
            stale = replace(stale, id="another", question=replace(stale.question, message_id="m"))
            with pytest.raises(DuplicateNumber):
                await store.turns.insert(stale, lease_ms=5_000)
            accepted = await sent(store, conversation_id, status="running", owner="slot:boot")
            kept = await store.turns.get(conversation_id, accepted.id)
            assert kept is not None
            assert (kept.n, kept.place, kept.spooled) == (4, 2, "whole")
        finally:
            mongod.resume()


async def test_titles_feedback_and_usage_wait_for_the_permanent_store(
    mongod: Mongod, tmp_path: Path, redis_server: RedisServer
) -> None:
    """And what they are about is drained as ever."""
    store = spooled_store(mongod, tmp_path, redis_server.url)
    await store.connect()
    try:
        conversation_id = new_id()
        await store.conversations.create(conversation_id, USER, "hello", digest=None, at=1)
        turn = await sent(store, conversation_id, status="running")
        ended = await finished(store, turn)
        await closed(store, ended)
        retitle = partial(store.conversations.retitle, conversation_id, was="hello")
        rate = partial(store.turns.set_feedback, conversation_id, f"answer-{turn.id}")
        mongod.pause()
        await wait_until(lambda: _noticed(store), "it is noticed")
        for asked in (
            lambda: retitle(title="Greetings"),
            lambda: rate(Feedback(value=1)),
            lambda: store.usage.of_user(USER, 0),
            lambda: store.usage.note_spent("us", 1, 1),
        ):
            with pytest.raises(Unavailable):
                await asked()
        mongod.resume()
        await wait_until(lambda: not store.away, "the store is back")
        retitled = await retitle(title="Greetings")
        assert retitled is not None
        assert await store.conversations.get(conversation_id, USER) == retitled
        rated = await rate(Feedback(value=1))
        assert rated is not None
        assert await store.turns.get(conversation_id, turn.id) == rated
    finally:
        mongod.resume()
        await store.close()


async def test_what_another_began_in_its_spool_is_not_shown_as_empty_before_it_is_drained(
    mongod: Mongod, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Who asked while the permanent store was away goes on to read when it is back, and the other
    has not drained yet."""
    theirs = spooled_store(mongod, tmp_path / "theirs", redis_server.url)
    ours = spooled_store(mongod, tmp_path / "ours", redis_server.url)
    async with connected(theirs), connected(ours):
        conversation_id = new_id()
        mongod.pause()
        try:
            for store in (theirs, ours):
                await wait_until(partial(_noticed, store), "it is noticed")
            await theirs.conversations.create(conversation_id, USER, "new", digest=None, at=1)
            turn = await sent(theirs, conversation_id, status="running", owner="slot:boot")
            known = await ours.conversations.get(conversation_id, USER)
            assert known.message_count == 1
        finally:
            mongod.resume()
        await wait_until(lambda: not (ours.away or theirs.away), "the store is back")
        with pytest.raises(Unavailable):
            await ours.turns.before(conversation_id, None, 10)
        with pytest.raises(Unavailable):
            await ours.load(conversation_id, 50)
        with pytest.raises(Unavailable):
            await ours.conversations.get(conversation_id, USER)
        with pytest.raises(NotFound):
            await ours.conversations.get(conversation_id, "another user")

        async def told(_: Drained) -> None:
            return None

        theirs.drain_to(told)
        await wait_until(lambda: theirs.drained == 1, "it is drained")
        [shown] = await ours.turns.before(conversation_id, None, 10)
        assert shown.question == turn.question
        assert len((await ours.load(conversation_id, 50)).messages) == 1
        assert (await ours.conversations.get(conversation_id, USER)).message_count == 1
