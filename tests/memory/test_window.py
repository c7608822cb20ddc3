"""The fallback in this process stays within its bounds."""

from __future__ import annotations

import tracemalloc

import pytest
from langchain_core.messages import HumanMessage

from memory.records import Message, Transcript
from memory.window import DEFAULT_BYTES, Window
from tests.memory.conftest import Make


def transcript(text: str, count: int = 1) -> Transcript:
    return Transcript(
        messages=[Message(id=f"m{n}", type="human", content=text + str(n)) for n in range(count)]
    )


def test_a_hundred_thousand_conversations_stay_within_the_bound() -> None:
    window = Window(ttl_seconds=3600)
    tracemalloc.start()
    try:
        for n in range(100_000):
            window.put(f"conversation-{n}", transcript(f"a message of some length, {n} " * 4, 2))
        used, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert window.bytes <= DEFAULT_BYTES
    assert used < 1.25 * DEFAULT_BYTES
    assert 5_000 < len(window) < 50_000


@pytest.mark.parametrize("text", ["x" * 100_000, "x" * 100_000 + "🙂"], ids=["ascii", "emoji"])
def test_long_texts_are_counted_by_what_they_take(text: str) -> None:
    window = Window(ttl_seconds=3600, max_bytes=10_000_000)
    tracemalloc.start()
    try:
        for n in range(300):
            window.put(str(n), transcript(text))
        used, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 3_000_000 < used < 12_500_000


def test_the_conversation_touched_longest_ago_goes_first() -> None:
    evicted: list[str] = []
    window = Window(ttl_seconds=3600, max_bytes=6_000, on_evict=evicted.append)
    for name in ("a", "b", "c"):
        window.put(name, transcript(name))
    window.get("a")
    window.put("d", transcript("d"))
    assert evicted == ["b"]
    assert list(window) == ["c", "a", "d"]


def test_what_is_dropped_is_no_longer_counted() -> None:
    window = Window(ttl_seconds=3600)
    for n in range(5):
        window.put("same", transcript("x" * n))
    window.drop("same")
    window.drop("never there")
    assert window.bytes == 0


def test_a_conversation_is_gone_after_its_time_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("memory.window.time.monotonic", lambda: now)
    window = Window(ttl_seconds=60)
    window.put("early", transcript("early"))
    window.put("read", transcript("read"))
    now += 50
    assert window.get("read") is not None
    now += 11
    assert window.get("early") is None
    assert window.get("read") is not None


async def test_a_full_fallback_lets_the_oldest_go_with_one_warning(
    make: Make, nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = make(redis_url=nowhere, window_bytes=100_000)
    for n in range(200):
        await memory.add_message(f"c{n}", HumanMessage("hello"))
    assert await memory.get_conversation_history("c0") == []
    assert len(await memory.get_conversation_history("c199")) == 1
    assert caplog.text.count("The in-memory fallback is full") == 1
