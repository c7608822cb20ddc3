"""From the spool back into MongoDB: each message once, in order, with all that is counted right."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from memory.records import Position, messages_of
from mongo.store import MongoStore
from spool.file import SpoolFile
from stores.contract import Drained
from tests.spool.returning import Spool, assert_in_order, exchange
from tests.stores.samples import (
    LEASE,
    ME,
    OTHER,
    USER,
    a_conversation,
    an_answer,
    claimed,
    closed,
    finished,
    new_id,
    sent,
)


@pytest.fixture
def spool(file: SpoolFile, permanent: MongoStore) -> Spool:
    return Spool(file, permanent)


async def is_empty(spool: Spool) -> bool:
    return not await spool.file.lodgings() and not await spool.file.spooled_turns()


def seqs(drained: Drained) -> list[int | None]:
    return [message.seq for _, message in drained.stored]


async def test_what_was_said_meanwhile_comes_after_what_was_there(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    await exchange(permanent, conversation_id)
    await spool.lodge(conversation_id)
    third = await spool.exchange(conversation_id)
    fourth = await spool.exchange(conversation_id)

    drained = await spool.drain(conversation_id)
    assert (drained.as_told, drained.gone) == (True, False)
    assert (drained.conversation_id, drained.user_id) == (conversation_id, USER)
    expected = [(turn.id, message) for turn in (third, fourth) for message in messages_of(turn)]
    assert [(turn.id, message) for turn, message in drained.stored] == expected
    assert seqs(drained) == [5, 6, 7, 8]
    assert spool.told == [drained]
    assert await is_empty(spool)
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "question 2", "question 3", "question 4"
    )
    assert turns[2:] == [third, fourth]


async def test_a_conversation_begun_here_is_made_there(spool: Spool, permanent: MongoStore) -> None:
    conversation_id = new_id()
    await spool.begin(conversation_id)
    await spool.exchange(conversation_id)
    drained = await spool.drain(conversation_id)
    assert (drained.as_told, drained.gone) == (True, False)
    await assert_in_order(permanent, conversation_id, "question 1")
    made = await permanent.conversations.get(conversation_id, USER)
    assert (made.title, made.created_at, made.updated_at) == ("new", 1, 2_001)


async def test_an_empty_conversation_is_drained_as_well(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = new_id()
    await spool.begin(conversation_id)
    drained = await spool.drain(conversation_id)
    assert drained.stored == []
    assert drained.user_id == USER
    assert (await permanent.conversations.get(conversation_id, USER)).position == Position()


@pytest.mark.parametrize("is_made", [False, True])
async def test_draining_it_again_changes_nothing(
    spool: Spool, permanent: MongoStore, is_made: bool
) -> None:
    if is_made:
        conversation_id = new_id()
        await spool.begin(conversation_id)
    else:
        conversation_id = await a_conversation(permanent)
        await spool.lodge(conversation_id)
    await spool.exchange(conversation_id)
    running = await spool.ask(conversation_id, status="running")
    waiting = await spool.ask(conversation_id)
    first = await spool.drain(conversation_id, keeping=True)
    kept = await permanent.turns.before(conversation_id, None, 10)
    conversation = await permanent.conversations.get(conversation_id, USER)
    for keeping in (True, False):
        assert await spool.drain(conversation_id, keeping=keeping) == first
        assert await permanent.turns.before(conversation_id, None, 10) == kept
        assert await permanent.conversations.get(conversation_id, USER) == conversation
    assert kept[1:] == [running, waiting]


async def test_an_open_turn_goes_over_as_it_is_and_its_holder_goes_on_with_it(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await spool.lodge(conversation_id)
    running = await spool.ask(conversation_id, status="running")
    waiting = await spool.ask(conversation_id, owner=OTHER)
    drained = await spool.drain(conversation_id)
    assert drained.as_told
    assert seqs(drained) == [1, 3]
    assert await permanent.turns.open_turns(conversation_id) == [running, waiting]
    assert await permanent.turns.adrift(5) == []
    assert await permanent.turns.renew([running.id], ME, lease_ms=LEASE) == {running.id: False}
    await closed(permanent, await finished(permanent, running))
    # Nobody holds the other: whoever sweeps first has it.
    assert await permanent.turns.adrift(5) == [waiting]
    assert (await claimed(permanent, waiting)).attempt == 1


async def test_an_answer_to_what_was_asked_before_is_brought_to_its_question(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    running = await sent(permanent, conversation_id, status="running")
    waiting = await sent(permanent, conversation_id)
    await spool.lodge(conversation_id)
    await spool.answer(running)
    await spool.answer(waiting)
    await spool.exchange(conversation_id)
    drained = await spool.drain(conversation_id)
    assert drained.as_told
    assert seqs(drained) == [4, 6, 7, 8]  # their questions were there
    await assert_in_order(permanent, conversation_id, *(f"question {n}" for n in (1, 2, 3, 4)))


async def test_a_turn_that_had_ended_before_is_only_closed(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    running = await sent(permanent, conversation_id, status="running")
    ended = await finished(permanent, running)
    await spool.lodge(conversation_id)
    await spool.file.turns.close(ended)
    drained = await spool.drain(conversation_id)
    assert (drained.as_told, drained.stored) == (True, [])
    await assert_in_order(permanent, conversation_id, "question 1")


async def test_a_turn_stopped_here_while_it_waited_is_stopped_there(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    running = await sent(permanent, conversation_id, status="running")
    waiting = await sent(permanent, conversation_id)
    await spool.lodge(conversation_id)
    stopped = await spool.file.turns.request_stop(conversation_id, waiting.id)
    assert stopped is not None
    await spool.file.turns.close(stopped)
    await spool.answer(running)
    await spool.exchange(conversation_id)
    assert (await spool.drain(conversation_id)).as_told
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "-question 2", "question 3"
    )
    assert [turn.status for turn in turns] == ["completed", "stopped", "completed"]


async def test_a_number_that_another_server_has_given_is_not_given_twice(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    await spool.lodge(conversation_id)
    mine = [await spool.exchange(conversation_id, f"mine {n}") for n in (2, 3)]
    theirs = await exchange(permanent, conversation_id)
    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    # What nobody could tell before: their places.
    assert seqs(drained) == [5, 6, 7, 8]
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "question 2", "mine 2", "mine 3"
    )
    assert [turn.id for turn in turns[1:]] == [theirs.id, *(turn.id for turn in mine)]


async def test_an_open_turn_whose_number_is_taken_waits_behind_it(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await spool.lodge(conversation_id)
    mine = await spool.ask(conversation_id, status="running", content="mine")
    theirs = await sent(permanent, conversation_id, status="running", owner=OTHER)
    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    opened = await permanent.turns.open_turns(conversation_id)
    assert opened == [
        theirs,
        replace(mine, n=2, place=2, status="queued", owner=None, accepted=mine.accepted),
    ]
    # It is answered once, by whoever gets to it.
    assert await permanent.turns.finish(mine, "completed", an_answer(mine)) is None
    await closed(permanent, await finished(permanent, theirs))
    [_, waiting] = opened
    again = await claimed(permanent, waiting, OTHER)
    assert again.attempt == 2
    await closed(permanent, await finished(permanent, again))
    await assert_in_order(permanent, conversation_id, "question 1", "mine")


async def test_a_turn_that_runs_elsewhere_by_now_stays_there(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    running = await sent(permanent, conversation_id, status="running")
    await spool.lodge(conversation_id)
    await spool.answer(running)
    await spool.exchange(conversation_id)
    # Another server has taken it over, and has answered it otherwise.
    await permanent.turns.release(ME)
    theirs = await claimed(permanent, running, OTHER)
    ended = await permanent.turns.finish(theirs, "completed", an_answer(theirs, "otherwise"))
    assert ended is not None
    await permanent.turns.close(ended)
    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    assert seqs(drained) == [3, 4]
    turns = await assert_in_order(permanent, conversation_id, "question 1", "question 2")
    assert turns[0].answer == an_answer(theirs, "otherwise")


async def test_a_message_that_was_sent_again_is_kept_once(
    spool: Spool, permanent: MongoStore
) -> None:
    conversation_id = await a_conversation(permanent)
    await exchange(permanent, conversation_id)
    await spool.lodge(conversation_id)
    # Accepted by another server, and never noted.
    before = await exchange(permanent, conversation_id, owner=OTHER)
    again = await spool.ask(
        conversation_id, message_id=before.question.message_id, id=before.id, status="running"
    )
    await spool.answer(again)
    after = await spool.exchange(conversation_id)
    drained = await spool.drain(conversation_id)
    assert not drained.as_told
    assert [turn.id for turn, _ in drained.stored] == [after.id, after.id]
    assert seqs(drained) == [5, 6]
    turns = await assert_in_order(
        permanent, conversation_id, "question 1", "question 2", "question 3"
    )
    assert turns[1] == before
