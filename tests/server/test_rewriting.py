"""Edits and regenerates that meet each other between two looks at the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from embedded.store import EmbeddedStore
from memory.records import Turn
from server.attachments import Attachments
from server.errors import Missing
from server.protocol import EditMessage, RegenerateTurn
from server.turns.rewriting import Rewriting
from tests.server.test_turns import USER, Server
from tests.support.wait import wait_until

Call = Callable[[str], Awaitable[Turn]]


class Rewriter:
    """A server that answers at once, and its edits and regenerates of one message."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.server = Server(store)
        self.server.agent.gate.set()
        self._store = store
        self._rewriting = Rewriting(
            conversations=store.conversations,
            turns=store.turns,
            attachments=Attachments(
                store.attachments, store.turns, most=0, most_bytes=0, most_bytes_per_user=0
            ),
            memory=self.server.memory,
            feeds=self.server.feeds,
            answering=self.server.answering,
            max_waiting=0,
            purse=self.server.purse,
        )
        self.turn: Turn

    async def begin(self) -> None:
        self.turn = await self.server.send("message")
        await self.server.answered(self.turn)

    async def edit(self, key: str) -> Turn:
        conversation = await self._store.conversations.get(self.turn.conversation_id, USER)
        call = EditMessage(
            conversation_id=conversation.id,
            message_id=self.turn.question.message_id,
            new_message_id=key,
            content=key,
        )
        return (await self._rewriting.edit(conversation, call)).turn

    async def regenerate(self, key: str) -> Turn:
        conversation = await self._store.conversations.get(self.turn.conversation_id, USER)
        call = RegenerateTurn(
            conversation_id=conversation.id, turn_id=self.turn.id, new_turn_id=key
        )
        return (await self._rewriting.regenerate(conversation, call)).turn


@pytest.fixture
async def rewriter(tmp_path: Path) -> AsyncIterator[Rewriter]:
    store = EmbeddedStore(tmp_path / "store.db")
    await store.connect()
    rewriter = Rewriter(store)
    await rewriter.begin()
    yield rewriter
    await rewriter.server.answering.drain(1)
    await store.close()


def after_the_first_look(
    store: Any, monkeypatch: pytest.MonkeyPatch, what: Callable[[], Awaitable[None]]
) -> None:
    """``what`` happens once: when a call has had the answer to its first question, be that what
    is open or what stands at the place, and has not asked the other yet."""
    names = ("open_turns", "at_place")
    real = {name: getattr(store.turns, name) for name in names}

    def looking(name: str) -> Callable[..., Awaitable[Any]]:
        async def look(*arguments: Any) -> Any:
            found = await real[name](*arguments)
            if store.turns.__dict__.get(name) is look:
                monkeypatch.undo()
                await what()
            return found

        return look

    for name in names:
        monkeypatch.setattr(store.turns, name, looking(name))


@pytest.mark.parametrize("way", ["edit", "regenerate"])
async def test_whoever_comes_too_late_stops_nothing_of_what_came_before(
    rewriter: Rewriter, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It was refused, and the answer that stood was left without a word."""
    server, call = rewriter.server, getattr(rewriter, way)
    server.agent.gate.clear()
    winners: list[Turn] = []

    async def another_comes() -> None:
        winners.append(await call("first"))

    after_the_first_look(server.store, monkeypatch, another_comes)
    with pytest.raises(Missing):
        await call("second")
    [winner] = winners
    assert server.agent.cancelled == []
    server.agent.gate.set()
    await server.answered(winner)


async def test_nor_of_what_was_sent_after_it(
    rewriter: Rewriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit that came before has ended, and the next message is being answered."""
    server = rewriter.server
    sent: list[Turn] = []

    async def another_comes_and_goes_on() -> None:
        winner = await rewriter.edit("first")
        await server.answered(winner)
        server.agent.gate.clear()
        sent.append(await server.send("next", winner.conversation_id))

    after_the_first_look(server.store, monkeypatch, another_comes_and_goes_on)
    with pytest.raises(Missing):
        await rewriter.edit("second")
    assert server.agent.cancelled == []
    server.agent.gate.set()
    await server.answered(sent[0])


async def test_what_is_replaced_is_stopped_with_all_after_it(rewriter: Rewriter) -> None:
    server = rewriter.server
    server.agent.gate.clear()
    first = await server.send("one more", rewriter.turn.conversation_id)
    second = await server.send("and one", rewriter.turn.conversation_id)
    await wait_until(lambda: server.agent.asked[-1] == "one more", "it is being answered")
    edited = await rewriter.edit("better")
    for each in (first, second):
        kept = await server.store.turns.get(each.conversation_id, each.id)
        assert kept is not None
        assert (kept.status, kept.superseded) == ("stopped", True)
    server.agent.gate.set()
    await server.answered(edited)
