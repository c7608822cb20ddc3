"""What a long outage costs this process in memory: bounded, however many conversations it sees."""

from __future__ import annotations

import asyncio

from memory import cached
from memory.records import Message, Position, Transcript
from tests.memory.conftest import Make
from tests.memory.steps import resident
from tests.support.archive import ArchiveInMemory

CONVERSATIONS = 100_000
WINDOW = 8_000_000
ALLOWED = 40_000_000
"""Window, touched ids, and what the allocator keeps. Unbounded it would be more than that: the
25,000 conversations with texts of 1 kB, and as much for what else is held of a hundred thousand."""
TEXT = "something of some length; " * 40


class EveryConversation(ArchiveInMemory):
    """There is none that it doesn't have, and it keeps none of them."""

    async def load(self, conversation_id: str, max_messages: int) -> Transcript:
        self._check()
        self.loads += 1
        return Transcript(messages=[question(conversation_id)], position=Position(turn=1))


def question(conversation_id: str) -> Message:
    return Message(id="q", seq=1, type="human", content=f"{conversation_id}: {TEXT}")


async def test_an_outage_over_a_hundred_thousand_conversations_stays_within_its_bounds(
    make: Make, nowhere: str
) -> None:
    archive = EveryConversation()
    memory = make(redis_url=nowhere, archive=archive, window_bytes=WINDOW)
    asked = Position(turn=1)
    await memory.connect()
    before = resident()

    async def turn(number: int, name: str) -> None:
        if number % 4 == 0:  # the others are held in another window
            assert (await memory.read(name, at_least=asked)).messages == [question(name)]
        answer = Message(id="a", seq=2, type="ai", content=f"{name}: {TEXT}")
        await memory.remember(name, answer, Position(turn=1, answers=1))

    for first in range(0, CONVERSATIONS, 500):
        names = [f"conversation-{n:036}" for n in range(first, first + 500)]
        await asyncio.gather(*(turn(number, name) for number, name in enumerate(names, start=1)))
    assert archive.loads == CONVERSATIONS / 4
    assert isinstance(memory._mode, cached.Cached)
    assert memory._mode.window.bytes <= WINDOW
    assert len(memory._mode._touched) <= cached.MAX_TOUCHED
    assert resident() - before < ALLOWED
    # The latest are still there, with what was added.
    reloaded = archive.loads
    latest = await memory.read(names[-1], at_least=Position(turn=1, answers=1))
    assert [message.seq for message in latest.messages] == [1, 2]
    assert archive.loads == reloaded
