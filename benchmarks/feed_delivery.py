"""One event to all who follow a conversation: encoded once, or for each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.audience import Audience, audience
from benchmarks.feed_answers import TEXT
from benchmarks.report import Row, compared
from benchmarks.samples import new_turn
from benchmarks.timing import in_turns
from server.feed import events

READERS = (1, 10, 100)
EVENTS = 20
"""In a round."""
PAUSE_SECONDS = 0.001
"""Between events: as in life, the readers wait for each; and the loop gets to write it."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """What a round's events took, for one of them."""

    seconds: float
    """Until it was queued for all."""
    cpu: float
    """Until all had read it."""


async def measure(long: bool) -> list[Row]:
    rounds = 60 if long else 12
    found = {}
    async with audience(max(READERS)) as all_of_them:
        for readers in READERS:
            found[readers] = await deliveries(all_of_them, readers, rounds=rounds)
    rows = []
    for readers, windows in found.items():
        name = f"queue an event for {_so_many(readers)}"
        rows.append(compared(name, "µs", windows, lambda w: 1e6 * w.seconds, "encoded each"))
    for readers, windows in found.items():
        name = f"server CPU until it has reached {_so_many(readers)}"
        floors = ("encoded each", "stock emit")
        rows.append(compared(name, "µs", windows, lambda w: 1e6 * w.cpu, *floors))
    return rows


def _so_many(readers: int) -> str:
    return "one reader" if readers == 1 else f"{readers} readers"


WAYS = ("here", "encoded each", "stock emit")


async def deliveries(
    all_of_them: Audience,
    readers: int,
    *,
    rounds: int,
    names: Sequence[str] = WAYS,
    label: str = "",
) -> dict[str, list[Window]]:
    """Of each way a window a round, after one that does not count. Who asks again of the same
    readers needs another ``label``: they know what they have heard."""
    sids = [connection.sid for connection in all_of_them.connections[:readers]]
    transport, room = all_of_them.transport, f"{readers} readers"
    for sid in sids:
        await transport.enter_room(sid, room)

    async def once(event: str, payload: Payload) -> None:
        all_of_them.deliver(event, payload, sids)

    async def each(event: str, payload: Payload) -> None:
        for sid in sids:
            all_of_them.deliver(event, payload, [sid])

    async def emit(event: str, payload: Payload) -> None:
        all_of_them.told += readers
        await transport.emit(event, payload, room=room)

    ways = dict(zip(WAYS, (once, each, emit), strict=True))
    windows: dict[str, list[Window]] = {name: [] for name in names}
    for number, name in in_turns(names, rounds + 1):
        window = await _window(all_of_them, ways[name], f"{readers} {name} {number} {label}")
        if number:
            windows[name].append(window)
    return windows


async def _window(
    readers: Audience, deliver: Callable[[str, Payload], Awaitable[None]], log: str
) -> Window:
    delta = events.delta(new_turn("conversation"), 0, TEXT)
    used, seconds = time.process_time(), 0.0
    for number in range(EVENTS):
        payload = {"conversation_id": "conversation", "cursor": f"{log}-{number}", **delta.fields}
        began = time.perf_counter()
        await deliver(delta.name, payload)
        seconds += time.perf_counter() - began
        await asyncio.sleep(PAUSE_SECONDS)
    assert await readers.has_heard() == 0, "events were lost, doubled or out of order"
    return Window(seconds / EVENTS, (time.process_time() - used) / EVENTS)
