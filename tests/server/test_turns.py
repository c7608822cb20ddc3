"""Turns that wait, when the store answers late, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.answering import AnswerChunk, AnswerRequest, Untitled
from embedded.store import EmbeddedStore
from memory import succession
from memory.errors import Unavailable
from memory.records import Message, Position, Transcript, Turn
from server.attachments import Attachments
from server.errors import Busy, Conflict, RateLimited
from server.feed.feeds import Feeds
from server.protocol import SendMessage
from server.signals import Signals
from server.turns.acceptance import Acceptance
from server.turns.answering import Answering
from server.turns.leases import Leases
from stores.contract import Store
from tests.support.wait import wait_until

USER, LEASE_MS = "user", 300


class Memory:
    """No cache: everything is read from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        return await self._store.load(conversation_id, 1000)

    async def remember(
        self, conversation_id: str, message: Message, position: Position, *, begins: bool = False
    ) -> None:
        pass

    async def forget(self, conversation_id: str) -> None:
        pass

    def continued(
        self, transcript: Transcript, message: Message, position: Position
    ) -> Transcript | None:
        outcome, continued = succession.add(transcript, message, position, 1000)
        return continued if outcome == "added" else None


class ScriptedAgent:
    """Answers when the test lets it."""

    description = "scripted"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: list[str] = []
        self.requests: list[AnswerRequest] = []
        self.most_at_once = 0
        self.cancelled: list[str] = []
        self.context: dict[str, Any] | None = None
        self._now = 0

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[AnswerChunk, None]:
        self.asked.append(str(request.question.content))
        self.requests.append(request)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.gate.wait()
            yield AnswerChunk(context=self.context)
            yield AnswerChunk(text="answer")
        except asyncio.CancelledError:
            self.cancelled.append(str(request.question.content))
            raise
        finally:
            self._now -= 1

    def turn_ended(self, conversation_id: str, user_id: str, turn_id: str) -> None:
        pass

    def first_answered(self, untitled: Untitled) -> None:
        pass

    async def close(self) -> None:
        pass


class Purse:
    """Of all users."""

    def __init__(self) -> None:
        self.left = 1_000_000

    async def pay(self, user_id: str) -> None:
        if self.left == 0:
            raise RateLimited
        self.left -= 1

    def give_back(self, user_id: str) -> None:
        self.left += 1


class Server:
    """The part of a server that turns messages into answers."""

    def __init__(self, store: Store, **limits: int) -> None:
        self.store = store
        self.agent = ScriptedAgent()
        memory = self.memory = Memory(store)
        signals = Signals("us:1")
        feeds = self.feeds = Feeds(lambda event, payload, sids: None, store, memory)
        self.answering = Answering(
            conversations=store.conversations,
            turns=store.turns,
            memory=memory,
            feeds=feeds,
            agent=self.agent,
            signals=signals,
            owner="us:1",
            lease_ms=limits.get("lease_ms", LEASE_MS),
            max_running=limits.get("max_running", 0),
            max_attempts=0,
            max_waiting_per_user=limits.get("max_waiting_per_user", 0),
        )
        self.purse = Purse()
        self.acceptance = Acceptance(
            conversations=store.conversations,
            turns=store.turns,
            attachments=Attachments(
                store.attachments, store.turns, most=0, most_bytes=0, most_bytes_per_user=0
            ),
            memory=memory,
            feeds=feeds,
            answering=self.answering,
            max_waiting=0,
            purse=self.purse,
        )
        self.leases = Leases(self.answering, store.turns, signals, sweep_seconds=1.0)

    async def send(
        self, message_id: str, conversation_id: str | None = None, *, follows: bool = False
    ) -> Turn:
        call = SendMessage(
            message_id=message_id, content=message_id, conversation_id=conversation_id
        )
        place = await self.acceptance.place(USER, call, follows=follows)
        return (await self.acceptance.accept(place, call)).turn

    async def answered(self, turn: Turn) -> None:
        async def closed() -> bool:
            now = await self.store.turns.get(turn.conversation_id, turn.id)
            return now is not None and now.status == "completed" and not now.open

        await wait_until(closed, f"{turn.question.message_id} is answered")

    async def work(self) -> None:
        """Renews and sweeps, quicker than a real server."""
        while True:
            await self.leases.renew()
            await self.leases.sweep()
            await asyncio.sleep(0.05)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "store.db")
    await store.connect()
    yield store
    await store.close()


def losing(store: EmbeddedStore, name: str, *, after: bool) -> None:
    """Once, the call of this name fails: before it took effect, or after.

    An embedded store has no connection to cut at a chosen call; with a MongoDB that is killed and
    frozen, ``tests/chaos`` makes the same at calls of chance.
    """
    real = getattr(store.turns, name)

    async def lossy(*arguments: Any, **more: Any) -> Any:
        setattr(store.turns, name, real)
        if after:
            await real(*arguments, **more)
        raise Unavailable("the reply is lost")

    setattr(store.turns, name, lossy)


@pytest.mark.parametrize(
    ("lost", "after"),
    [("claim", True), ("claim", False), ("open_turns", False), ("close", False), ("close", True)],
    ids=[
        "claim's reply",
        "the claim",
        "the look at what is next",
        "the closing",
        "closing's reply",
    ],
)
async def test_a_waiting_turn_is_answered_though_the_store_failed_when_it_was_its_turn(
    store: EmbeddedStore, lost: str, after: bool
) -> None:
    server = Server(store)
    first = await server.send("first")
    second = await server.send("second", first.conversation_id)
    assert (first.status, second.status) == ("running", "queued")
    losing(store, lost, after=after)
    server.agent.gate.set()
    working = asyncio.create_task(server.work())
    try:
        await server.answered(second)
        assert server.agent.asked.count("first") == 1
    finally:
        working.cancel()
        await asyncio.wait({working})
        await server.answering.drain(1)


async def test_what_waits_behind_a_run_that_is_lost_is_begun_at_its_end(
    store: EmbeddedStore,
) -> None:
    """Another server has ended that turn, and closed it: no look but this run's is left."""
    server = Server(store)
    first = await server.send("first")
    second = await server.send("second", first.conversation_id)
    await wait_until(lambda: server.agent.asked == ["first"], "the model is asked")
    ended = await store.turns.finish(first, "stopped", None)
    assert ended is not None
    assert await store.turns.close(ended) is True
    server.agent.gate.set()
    server.answering.lost([first.id])
    await server.answered(second)


async def test_a_place_is_free_before_the_turn_that_had_it_is_closed(store: EmbeddedStore) -> None:
    server = Server(store, max_running=1)
    real, may_close = store.turns.close, asyncio.Event()

    async def slow(*arguments: Any, **more: Any) -> bool:
        await may_close.wait()
        return await real(*arguments, **more)

    store.turns.close = slow  # type: ignore[method-assign]
    first = await server.send("first")
    second = await server.send("second")
    assert (first.status, second.status) == ("running", "queued")
    server.agent.gate.set()
    await wait_until(lambda: server.agent.asked == ["first", "second"], "the other is begun")
    may_close.set()
    await server.answered(first)
    await server.answered(second)


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_message_that_is_being_accepted_as_the_server_drains_is_answered_or_left_whole(
    store: EmbeddedStore, in_time: bool
) -> None:
    server = Server(store)
    server.agent.gate.set()
    real, is_asked, may_insert = store.turns.insert, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **more: Any) -> Turn:
        is_asked.set()
        await may_insert.wait()
        return await real(*arguments, **more)

    store.turns.insert = slow  # type: ignore[method-assign]
    sending = asyncio.create_task(server.send("first"))
    await is_asked.wait()
    draining = asyncio.create_task(server.answering.drain(5 if in_time else 0.05))
    if in_time:
        await asyncio.sleep(0.1)
        assert not draining.done()
    else:
        await draining
    may_insert.set()
    turn = await sending
    await draining
    assert turn.status == "running"
    kept = await store.turns.get(turn.conversation_id, turn.id)
    assert kept is not None
    assert (kept.status, kept.open) == (("completed", False) if in_time else ("running", True))
    assert server.agent.asked == (["first"] if in_time else [])
    assert not server.answering.held()


async def test_an_answer_is_kept_though_what_it_was_made_of_can_not_be(
    store: EmbeddedStore,
) -> None:
    server = Server(store)
    server.agent.context = {"system_prompt": "a lone surrogate: \ud800"}
    server.agent.gate.set()
    turn = await server.send("first")
    await server.answered(turn)
    kept = await store.turns.get(turn.conversation_id, turn.id)
    assert kept is not None
    assert kept.answer is not None
    assert kept.answer.content == "answer"
    assert await store.turns.context(turn.conversation_id, turn.id) is None
    await server.answering.drain(1)


async def test_no_more_run_than_may_when_many_come_at_once(store: EmbeddedStore) -> None:
    server = Server(store, max_running=3)
    turns = await asyncio.gather(*(server.send(f"message {number}") for number in range(20)))
    assert [turn.status for turn in turns].count("running") == 3
    working = asyncio.create_task(server.work())
    try:
        server.agent.gate.set()
        for turn in turns:
            await server.answered(turn)
        assert server.agent.most_at_once <= 3
        assert sorted(server.agent.asked) == sorted(f"message {n}" for n in range(20))
    finally:
        working.cancel()
        await asyncio.wait({working})
        await server.answering.drain(1)


async def test_a_user_has_so_many_waiting_also_when_they_come_at_once(store: EmbeddedStore) -> None:
    server = Server(store, max_waiting_per_user=3)
    first, other = await server.send("first"), await server.send("other")
    busy = [first.conversation_id, other.conversation_id]

    async def sent(number: int) -> Turn | None:
        try:
            return await server.send(f"message {number}", busy[number % 2])
        except Busy:
            return None

    turns = await asyncio.gather(*(sent(number) for number in range(10)))
    kept = [turn for turn in turns if turn is not None]
    assert len(kept) == 3
    assert await asyncio.gather(*(sent(20 + number) for number in range(4))) == [None] * 4
    assert (await server.send("third")).status == "running"  # it does not wait
    await server.answering.stop(kept[0].conversation_id, kept[0].id)
    assert (await server.send("fourth", busy[0])).status == "queued"
    assert await sent(99) is None
    working = asyncio.create_task(server.work())
    try:
        server.agent.gate.set()
        for turn in kept[1:]:
            await server.answered(turn)
        for conversation_id in busy:
            await wait_until(partial(_is_closed, store, conversation_id), "all is answered")
        server.agent.gate.clear()
        again = await server.send("fifth", busy[0])
        waiting = [turn for number in range(10) if (turn := await sent(200 + number))]
        assert len([turn for turn in waiting if turn.status == "queued"]) == 3
        server.agent.gate.set()
        for turn in (again, *waiting):
            await server.answered(turn)
    finally:
        working.cancel()
        await asyncio.wait({working})
        await server.answering.drain(1)


async def test_a_known_message_is_answered_as_before_where_a_new_one_would_be_refused(
    store: EmbeddedStore,
) -> None:
    server = Server(store)
    known = await server.send("known")

    async def hurried(message_id: str) -> Turn:
        call = SendMessage(
            message_id=message_id,
            content=message_id,
            conversation_id=known.conversation_id,
            if_busy="reject",
        )
        return (
            await server.acceptance.accept(await server.acceptance.place(USER, call), call)
        ).turn

    left = server.purse.left
    assert await hurried("known") == known
    assert server.purse.left == left
    with pytest.raises(Busy):
        await hurried("new")
    server.agent.gate.set()
    await server.answering.drain(1)


async def test_a_message_id_of_another_conversation_begins_none(store: EmbeddedStore) -> None:
    server = Server(store)
    first = await server.send("first")
    await server.send("second", first.conversation_id)
    left = server.purse.left
    with pytest.raises(Conflict):
        await server.send("second")  # without its conversation: it would begin one
    assert server.purse.left == left
    found = await store.conversations.list(USER, before=None, limit=10)
    assert [each.id for each in found] == [first.conversation_id]
    server.agent.gate.set()
    await server.answering.drain(1)


async def test_a_message_that_its_user_can_not_pay_leaves_no_trace(store: EmbeddedStore) -> None:
    server = Server(store)
    known = await server.send("known")

    server.purse.left = 0
    for conversation_id in (None, known.conversation_id):
        with pytest.raises(RateLimited):
            await server.send("new", conversation_id)
    assert await server.send("known") == known  # again, and free
    server.purse.left = 5
    for conversation_id in (None, known.conversation_id):
        again = (server.send("known", conversation_id) for _ in range(5))
        assert await asyncio.gather(*again) == [known] * 5
        assert server.purse.left == 5
    server.purse.left = 0
    found = await store.conversations.list(USER, before=None, limit=10)
    assert [each.id for each in found] == [known.conversation_id]
    assert [each.id for each in await store.turns.open_turns(known.conversation_id)] == [known.id]
    server.agent.gate.set()
    await server.answering.drain(1)


async def _is_closed(store: EmbeddedStore, conversation_id: str) -> bool:
    return not await store.turns.open_turns(conversation_id)
