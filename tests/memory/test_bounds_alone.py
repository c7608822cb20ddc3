"""What a long outage costs a script in memory: bounded, however much is written meanwhile."""

from __future__ import annotations

from langchain_core.messages import HumanMessage

from tests.memory.conftest import Make
from tests.memory.steps import resident, state
from tests.support.redis_server import Relay

CONVERSATIONS = 100_000
WINDOW = 8_000_000
ALLOWED = 40_000_000
"""The window, and what the allocator keeps. Unbounded it would be half as much again and more."""
TEXT = "something of some length; " * 40
LONG = 20 * TEXT


async def test_used_alone_an_outage_over_a_hundred_thousand_conversations_stays_within_its_bounds(
    make: Make, relay: Relay
) -> None:
    memory = make(redis_url=relay.url, window_bytes=WINDOW)
    await memory.connect()
    relay.cut()
    await memory.register_turn("the first")
    assert memory.state == "local"
    before = resident()
    for n in range(1, CONVERSATIONS + 1):
        name = f"conversation-{n:036}"
        if n % 4 == 0:
            await memory.add_message(name, HumanMessage(f"{n}: {TEXT}"))
        else:
            await memory.register_turn(name)
    assert memory._mode.window.bytes <= WINDOW
    assert resident() - before < ALLOWED
    # What there was room for is replayed, and what had to go does not stand in its way.
    held = len(memory._mode.window)
    assert held > 1000
    relay.mend()
    await state(memory, "redis")
    assert memory.counts["replayed"] == held
    [message] = await memory.get_conversation_history(name)
    assert message.content == f"{CONVERSATIONS}: {TEXT}"


async def test_used_alone_one_conversation_that_is_written_without_end_stays_within_its_bounds(
    make: Make, relay: Relay
) -> None:
    memory = make(redis_url=relay.url)
    await memory.connect()
    relay.cut()
    await memory.register_turn("c")
    before = resident()
    for n in range(3_000):
        await memory.add_message("c", HumanMessage(f"{n}: {LONG}"))
        await memory.register_turn("c")
        await memory.set_summary("c", f"{n}: {LONG}")
    assert resident() - before < ALLOWED
    relay.mend()
    await state(memory, "redis")
    assert await memory.register_turn("c") == 3_002
    history = await memory.get_conversation_history("c")
    assert [m.content for m in history] == [f"{n}: {LONG}" for n in range(2_950, 3_000)]
    assert await memory.get_summary("c") == f"2999: {LONG}"
