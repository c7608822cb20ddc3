"""An answer is begun while the store is still asked whether it is wanted; told only when it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest

from agent.answering import AnswerChunk, AnswerRequest
from memory.errors import NotFound, Unavailable
from memory.records import ToolUse, Turn
from mongo.store import MongoStore
from server.turns import ahead
from tests.server.test_accepting_at_rest import LONG_MS, at_rest, mongod, stores
from tests.server.test_turns import LEASE_MS, USER, Server
from tests.support.wait import wait_until

__all__ = ["mongod", "stores"]

Stores = tuple[MongoStore, MongoStore]


class Held:
    """A call of the store that waits, before it is made, until it is let go."""

    def __init__(self, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_asked = asyncio.Event()
        self.go = asyncio.Event()
        self._real = getattr(owner, name)
        self.error: Exception | None = None
        monkeypatch.setattr(owner, name, self._call)

    async def _call(self, *arguments: Any, **more: Any) -> Any:
        self.is_asked.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await self._real(*arguments, **more)


Hold = Callable[[Any, str], Held]


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    return lambda owner, name: Held(owner, name, monkeypatch)


@pytest.fixture
def lease_ms() -> int:
    """A test where it must end says how soon."""
    return LONG_MS


@pytest.fixture
async def server(
    stores: Stores, lease_ms: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setattr(ahead, "PATIENCE_SECONDS", 10.0)  # a busy machine is no slow memory
    server = Server(stores[0], lease_ms=lease_ms)
    server.agent.gate.set()
    yield server
    await server.answering.drain(1)


@pytest.fixture
async def first(server: Server) -> Turn:
    """Answered and closed: what its memory is read from here counts it only then."""
    first = await server.send("first")
    await at_rest(server, first)
    await server.answering.concluded(first.conversation_id)
    return first


def told(server: Server, turn: Turn) -> set[str]:
    """The open turns that the conversation's feed has told of."""
    feed = server.feeds._feeds[turn.conversation_id]
    return set(feed.log.live)


async def begun_ahead(
    server: Server, first: Turn, hold: Hold, error: Exception | None = None
) -> tuple[Held, asyncio.Task[Turn]]:
    """The answer to a second message, whose conversation is still to be touched."""
    touch = hold(server.store.conversations, "touch")
    touch.error = error
    sending = asyncio.create_task(server.send("second", first.conversation_id, follows=True))
    await wait_until(lambda: len(server.agent.asked) == 2, "the model is asked")
    return touch, sending


async def test_the_model_is_asked_while_the_conversation_is_still_being_touched(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    server.agent.gate.clear()
    touch = hold(stores[0].conversations, "touch")
    sending = asyncio.create_task(server.send("second", first.conversation_id, follows=True))
    await touch.is_asked.wait()
    await wait_until(lambda: server.agent.asked == ["first", "second"], "the model is asked")
    [_, request] = server.agent.requests
    assert request.transcript is not None
    assert [message.content for message in request.transcript.messages] == [
        "first",
        "answer",
        "second",
    ]
    server.agent.gate.set()
    await asyncio.sleep(0.1)
    assert told(server, first) == set()
    assert not sending.done()
    touch.go.set()
    second = await sending
    await server.answered(second)
    assert server.agent.asked == ["first", "second"]
    stored = await stores[0].load(first.conversation_id, 50)
    assert [message.content for message in stored.messages] == [
        "first",
        "answer",
        "second",
        "answer",
    ]


async def test_a_new_conversation_need_not_be_read(
    stores: Stores, server: Server, hold: Hold
) -> None:
    touch = hold(stores[0].conversations, "touch")
    sending = asyncio.create_task(server.send("first"))
    await wait_until(lambda: server.agent.asked == ["first"], "the model is asked")
    touch.go.set()
    await server.answered(await sending)
    [request] = server.agent.requests
    assert request.transcript is not None
    assert [message.content for message in request.transcript.messages] == ["first"]


async def test_of_a_deleted_conversation_nothing_is_told(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    server.agent.gate.clear()
    touch, sending = await begun_ahead(server, first, hold)
    await stores[1].conversations.delete(first.conversation_id, USER)
    touch.go.set()
    with pytest.raises(NotFound):
        await sending
    await wait_until(lambda: server.agent.cancelled == ["second"], "the answer is given up")
    await wait_until(lambda: not server.answering.held(), "it is let go")
    assert told(server, first) == set()
    assert await stores[0].turns.by_message(USER, "second") is None


@pytest.mark.parametrize("lease_ms", [LEASE_MS])
async def test_where_the_store_fails_the_answer_is_given_up_and_had_later(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    server.agent.gate.clear()
    touch, sending = await begun_ahead(server, first, hold, Unavailable("the reply is lost"))
    touch.go.set()
    with pytest.raises(Unavailable):
        await sending
    await wait_until(lambda: server.agent.cancelled == ["second"], "the answer is given up")
    server.agent.gate.set()
    working = asyncio.create_task(server.work())
    try:
        second = await stores[0].turns.by_message(USER, "second")
        assert second is not None
        await server.answered(second)
    finally:
        working.cancel()
        await asyncio.wait({working})


async def test_what_another_server_has_accepted_is_not_passed_over(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    there = Server(stores[1], lease_ms=server.answering.lease_ms)
    insert = hold(stores[0].turns, "insert")
    sending = asyncio.create_task(server.send("third", first.conversation_id, follows=True))
    await insert.is_asked.wait()
    there.agent.gate.set()
    await there.answered(await there.send("second", first.conversation_id))
    insert.go.set()
    third = await sending
    assert third.n == 3
    await server.answered(third)
    [_, request] = server.agent.requests
    assert request.transcript is None
    await there.answering.drain(1)


async def test_no_tool_runs_before_the_turn_is_wanted(
    stores: Stores, server: Server, first: Turn, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    async def using_a_tool(request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
        server.agent.asked.append(str(request.question.content))
        await request.note_tools([ToolUse(id="one", name="tool", status="started", input={})])
        ran.append("noted")
        await request.admitted()
        ran.append("admitted")
        yield AnswerChunk(text="answer")

    monkeypatch.setattr(server.agent, "answer", using_a_tool)
    touch, sending = await begun_ahead(server, first, hold)
    await asyncio.sleep(0.1)
    assert ran == []
    touch.go.set()
    await server.answered(await sending)
    assert ran == ["noted", "admitted"]


async def test_what_is_stopped_before_that_has_begun_and_ended(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    server.agent.gate.clear()
    touch, sending = await begun_ahead(server, first, hold)
    second = await stores[0].turns.by_message(USER, "second")
    assert second is not None
    stopping = asyncio.create_task(server.answering.stop(second.conversation_id, second.id))
    await wait_until(lambda: server.agent.cancelled == ["second"], "the model is left")
    touch.go.set()
    assert (await sending).status == "running"  # as it was accepted
    stopped = await stopping
    assert stopped is not None
    assert stopped.status == "stopped"


async def test_it_takes_one_place_and_not_two(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    server.agent.gate.clear()
    touch, sending = await begun_ahead(server, first, hold)
    assert len(server.answering.runs) == 1
    touch.go.set()
    await sending
    assert len(server.answering.runs) == 1
    server.agent.gate.set()


async def test_memory_that_is_read_with_the_message_in_it_does_as_well(
    stores: Stores, server: Server, first: Turn, hold: Hold
) -> None:
    read = hold(server.memory, "read")
    server.agent.gate.clear()
    touch = hold(stores[0].conversations, "touch")
    sending = asyncio.create_task(server.send("second", first.conversation_id, follows=True))

    async def stored() -> bool:
        return await stores[0].turns.by_message(USER, "second") is not None

    await wait_until(stored, "the message is stored")
    read.go.set()
    await wait_until(lambda: server.agent.asked == ["first", "second"], "the model is asked")
    transcript = server.agent.requests[-1].transcript
    assert transcript is not None
    assert [message.content for message in transcript.messages] == ["first", "answer", "second"]
    touch.go.set()
    await sending
    server.agent.gate.set()


@pytest.mark.parametrize("broken", [False, True])
async def test_a_memory_that_is_slow_or_broken_holds_up_no_acceptance(
    server: Server, first: Turn, hold: Hold, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(ahead, "PATIENCE_SECONDS", 0.1)
    read = hold(server.memory, "read")
    if broken:
        read.error = RuntimeError("what is kept can't be read")
        read.go.set()
    server.agent.gate.clear()
    async with asyncio.timeout(5):
        second = await server.send("second", first.conversation_id, follows=True)
    assert second.status == "running"
    read.go.set()
    server.agent.gate.set()
    await server.answered(second)
    assert server.agent.requests[-1].transcript is None


async def ended_and_not_closed(server: Server, hold: Hold) -> tuple[Turn, Held]:
    """The first turn, whose end was told; closing it waits."""
    close = hold(server.store.turns, "close")
    first = await server.send("first")
    await close.is_asked.wait()
    assert server.store.turns.at_rest(first.conversation_id) is not None
    return first, close


async def all_closed(server: Server, conversation_id: str) -> None:
    async def closed() -> bool:
        return not await server.store.turns.open_turns(conversation_id)

    await wait_until(closed, "all turns are closed")


async def test_who_hears_the_end_and_sends_at_once_need_not_wait_until_that_is_closed(
    server: Server, hold: Hold
) -> None:
    first, close = await ended_and_not_closed(server, hold)
    second = await server.send("second", first.conversation_id, follows=True)
    assert (second.n, second.status) == (2, "running")
    await wait_until(lambda: server.agent.asked == ["first", "second"], "the model is asked")
    close.go.set()
    await server.answered(second)
    await all_closed(server, first.conversation_id)
    kept = await server.store.turns.get(second.conversation_id, second.id)
    assert kept is not None
    assert kept.answers == 2
    conversation = await server.store.conversations.get(first.conversation_id, USER)
    assert conversation.message_count == 4


async def test_what_another_server_accepts_meanwhile_waits_and_is_answered(
    stores: Stores, server: Server, hold: Hold
) -> None:
    there = Server(stores[1])
    there.agent.gate.set()
    first, close = await ended_and_not_closed(server, hold)
    other = await there.send("other", first.conversation_id)
    assert (other.n, other.status) == (2, "queued")
    third = await server.send("third", first.conversation_id, follows=True)
    assert (third.n, third.status) == (3, "queued")
    close.go.set()
    working = [asyncio.create_task(each.work()) for each in (server, there)]
    try:
        await server.answered(other)
        await server.answered(third)
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        await there.answering.drain(1)


async def test_who_must_wait_for_it_is_told_when_it_is_closed(server: Server, hold: Hold) -> None:
    first, close = await ended_and_not_closed(server, hold)
    waiting = asyncio.create_task(server.answering.concluded(first.conversation_id))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    close.go.set()
    await waiting
    await all_closed(server, first.conversation_id)


@pytest.mark.parametrize("lease_ms", [LEASE_MS])
async def test_where_the_server_dies_between_the_two_another_one_concludes_and_goes_on(
    stores: Stores, server: Server, hold: Hold
) -> None:
    """The first is ended and open, the second runs, when it dies: it renews nothing any more."""
    first, _ = await ended_and_not_closed(server, hold)
    server.agent.gate.clear()
    second = await server.send("second", first.conversation_id, follows=True)
    assert second.status == "running"
    there = Server(stores[1])
    there.agent.gate.set()
    working = asyncio.create_task(there.work())
    try:
        await there.answered(second)
        await all_closed(there, first.conversation_id)
    finally:
        working.cancel()
        await asyncio.wait({working})
        await there.answering.drain(1)
    assert there.agent.asked == ["second"]
