"""Back into MongoDB where that has gone on otherwise: other ids, other owners, nothing at all."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from memory.errors import NotFound
from memory.records import Position, derived_id
from mongo.store import MongoStore
from spool.file import SpoolFile
from tests.spool.returning import Spool, assert_in_order, exchange
from tests.stores.conftest import connected
from tests.stores.lossy import LossyWay
from tests.stores.samples import LEASE, OTHER, USER, a_conversation, claimed, finished, new_id, sent
from tests.support.mongod import Mongod


@pytest.fixture
def spool(file: SpoolFile, permanent: MongoStore) -> Spool:
    return Spool(file, permanent)


async def test_a_message_id_used_in_another_conversation_before_is_kept_under_another(
    spool: Spool, permanent: MongoStore
) -> None:
    other_id = await a_conversation(permanent)
    there = await exchange(permanent, other_id)
    conversation_id = await a_conversation(permanent)
    await spool.lodge(conversation_id)
    mine = await spool.ask(
        conversation_id,
        message_id=there.question.message_id,
        id=there.id,
        status="running",
        content="mine",
    )
    await spool.answer(mine)
    await spool.exchange(conversation_id)
    first = await spool.drain(conversation_id, keeping=True)
    drained = await spool.drain(conversation_id)
    assert drained == first
    assert [message.seq for _, message in drained.stored] == [1, 2, 3, 4]
    # Whoever follows the conversation knows the message by the id that it was sent with.
    assert not drained.as_told
    [turn, _] = await assert_in_order(permanent, conversation_id, "mine", "question 2")
    assert turn.question.message_id == derived_id(
        "message", conversation_id, there.question.message_id
    )
    assert await permanent.turns.by_message(USER, there.question.message_id) == there
    await assert_in_order(permanent, other_id, "question 1")


@pytest.mark.parametrize("is_made", [False, True])
async def test_nothing_of_a_deleted_conversation_comes_back(
    spool: Spool, permanent: MongoStore, is_made: bool
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    await (spool.begin if is_made else spool.lodge)(conversation_id)
    await spool.exchange(conversation_id)
    await permanent.conversations.delete(conversation_id, USER)
    await permanent.conversations.purge(conversation_id)
    drained = await spool.drain(conversation_id)
    assert (drained.gone, drained.as_told, drained.stored) == (True, False, [])
    assert (drained.conversation_id, drained.user_id) == (conversation_id, USER)
    assert spool.told == [drained]
    assert await spool.file.lodgings() == []
    assert await permanent.turns.last(conversation_id) is None
    with pytest.raises(NotFound):
        await permanent.conversations.get(conversation_id, USER)


async def test_nothing_of_a_conversation_deleted_while_it_is_drained_stays(
    mongod: Mongod, database: str, permanent: MongoStore, file: SpoolFile
) -> None:
    async with LossyWay(mongod.port) as way:
        uri = f"mongodb://127.0.0.1:{way.port}/?directConnection=true"
        async with connected(MongoStore(uri, database)) as slow:
            assert isinstance(slow, MongoStore)
            spool = Spool(file, slow)
            conversation_id = await a_conversation(permanent)
            await spool.lodge(conversation_id)
            await spool.exchange(conversation_id, "the insert of this is held up")
            way.held = b"is held up"
            draining = asyncio.create_task(spool.drain(conversation_id))
            await way.is_holding.wait()
            await permanent.conversations.delete(conversation_id, USER)
            await permanent.conversations.purge(conversation_id)
            way.let_go.set()
            assert (await draining).gone
    assert await permanent.turns.last(conversation_id) is None


async def test_under_an_id_that_is_another_users_by_now_it_moves_to_one_of_its_own(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent, "somebody else")
    await spool.begin(conversation_id)
    await spool.exchange(conversation_id)
    running = await spool.ask(conversation_id, status="running")
    first = await spool.drain(conversation_id, keeping=True)
    drained = await spool.drain(conversation_id)
    assert drained == first
    assert (drained.gone, drained.as_told) == (True, False)
    assert (drained.conversation_id, drained.user_id) == (conversation_id, USER)

    theirs = await permanent.conversations.get(conversation_id, "somebody else")
    assert theirs.position == Position()
    assert await permanent.turns.last(conversation_id) is None
    [mine] = await permanent.conversations.list(USER, before=None, limit=5)
    assert mine.id != conversation_id
    [moved] = await permanent.turns.open_turns(mine.id)
    assert moved == replace(running, conversation_id=mine.id)
    await permanent.turns.close(await finished(permanent, moved))
    await assert_in_order(permanent, mine.id, "question 1", "question 2")


async def test_counts_are_right_where_an_answer_was_not_taken(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    running = await sent(permanent, conversation_id, status="running")
    await spool.lodge(conversation_id)
    await spool.answer(running)
    await spool.exchange(conversation_id)
    waiting = await spool.ask(conversation_id)
    # Meanwhile another server has gone on with it, and got no answer.
    await permanent.turns.release(running.owner or "")
    theirs = await claimed(permanent, running, OTHER)
    await permanent.turns.close(await finished(permanent, theirs, answer=False))

    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    assert [message.seq for _, message in drained.stored] == [5, 6, 7]
    # A count that is too high would have every reader take memory's for stale.
    conversation = await permanent.conversations.get(conversation_id, USER)
    assert conversation.position == Position(turn=4, answers=2)
    last = await claimed(permanent, waiting)
    await permanent.turns.close(await finished(permanent, last))
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "-question 2", "question 3", "question 4"
    )
    assert [turn.answers for turn in turns] == [1, 1, 2, 3]


async def test_counts_are_right_where_an_answer_came_that_was_not_known_here(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    running = await sent(permanent, conversation_id, status="running")
    await spool.lodge(conversation_id)
    failed = await finished(spool.file, running, answer=False)
    await spool.file.turns.close(failed)
    await spool.exchange(conversation_id)
    await permanent.turns.release(running.owner or "")
    theirs = await claimed(permanent, running, OTHER)
    await permanent.turns.close(await finished(permanent, theirs))
    assert not (await spool.drain(conversation_id)).as_told
    turns = await assert_in_order(permanent, conversation_id, "question 1", "question 2")
    assert [turn.answers for turn in turns] == [1, 2]


async def test_two_spools_with_turns_of_the_same_numbers_are_drained_one_after_the_other(
    spool: Spool, permanent: MongoStore, file: SpoolFile
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    await spool.lodge(conversation_id)
    async with connected(SpoolFile(file.path.parent / "another")) as theirs:
        assert isinstance(theirs, SpoolFile)
        other = Spool(theirs, permanent)
        await other.lodge(conversation_id)
        for each, who in ((spool, "mine"), (other, "theirs")):
            await each.exchange(conversation_id, f"{who} 2")
            await each.exchange(conversation_id, f"{who} 3")
        assert (await other.drain(conversation_id)).as_told
        assert not (await spool.drain(conversation_id)).as_told
    await assert_in_order(
        permanent, conversation_id, "question 1", "theirs 2", "theirs 3", "mine 2", "mine 3"
    )


async def test_where_another_turn_runs_a_running_one_waits(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await spool.lodge(conversation_id)
    mine = await spool.exchange(conversation_id)
    running = await spool.ask(conversation_id, status="running")
    # Of a number that nobody has given here.
    theirs = replace(running, id=new_id(), n=9, place=9, question=mine.question, owner=OTHER)
    theirs = replace(theirs, question=replace(theirs.question, message_id=new_id()))
    await permanent.turns.insert(theirs, lease_ms=LEASE)
    assert not (await spool.drain(conversation_id)).as_told
    kept = await permanent.turns.get(conversation_id, running.id)
    assert kept == replace(running, status="queued", owner=None)


async def test_a_message_of_old_that_was_sent_again_leaves_no_gap(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    first = await exchange(permanent, conversation_id, owner=OTHER)
    second = await exchange(permanent, conversation_id)
    await spool.lodge(conversation_id)
    await spool.file.turns.remove(first)  # memory does not reach back to it
    message_id = first.question.message_id
    await spool.answer(await spool.ask(conversation_id, id=first.id, message_id=message_id))
    after = await spool.exchange(conversation_id)
    assert after.n == 4
    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    assert [message.seq for _, message in drained.stored] == [5, 6]
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "question 2", "question 4"
    )
    assert turns[:2] == [first, second]
