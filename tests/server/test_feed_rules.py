"""The rules of a log stand twice: in ``log.py`` and, for logs in Redis, in ``scripts/rules.lua``.

Whatever is told, in whatever order, both say the same of it and know the same after it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.records import Position, ToolUse
from server.feed import events
from server.feed.events import Event
from server.feed.feeds import SAID_EVERY
from server.feed.line import MOST_TOGETHER, Write
from server.feed.log import Checkpoint, Entry, LiveTurn, Log
from server.feed.shared import SharedLogs
from server.shapes import tool_shape
from tests.support.redis_server import RedisServer
from tests.support.shared_logs import shared_logs
from tests.support.telling import BATCHES, Teller
from tests.support.turns import a_turn

T = TypeVar("T")


class InRedis:
    """Logs in Redis, for tests that are not coroutines: hypothesis runs none."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = shared_logs(url)
        self.logs = self.run(self._connection.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._connection.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[InRedis]:
    with RedisServer() as server:
        in_redis = InRedis(server.url)
        yield in_redis
        in_redis.close()


class Both:
    """One log, kept by both; what they say must be the same."""

    def __init__(self, logs: SharedLogs, checkpoint: Checkpoint) -> None:
        self.id = str(uuid4())
        self._logs = logs
        self._checkpoint = checkpoint
        self.here: Log
        self.verdicts: Counter[str] = Counter()

    async def begin(self) -> None:
        async def read() -> Checkpoint:
            return self._checkpoint

        await self._logs.begin(self.id, read)
        there = await self._logs.tail(self.id)
        assert there is not None
        n, position, live, mark = self._checkpoint
        turns = [each.copy() for each in live]
        self.here = Log(self.id, Checkpoint(n, position, turns, mark), epoch=there.epoch)
        await self.compare()

    async def append(self, writes: list[Write]) -> None:
        """Here one by one, as far as the rules allow; there all at once."""
        status, verdicts = "ok", []
        for write in writes:
            verdict, _ = self.here.append(write.event)
            self.verdicts[verdict] += 1
            if verdict in ("behind", "lost"):
                status = verdict
                break
            verdicts.append(verdict)
        reply = await self._logs.append(self.id, writes)
        expected = [status, self.here.number, self.here.epoch, *verdicts]
        assert [each.decode() if isinstance(each, bytes) else each for each in reply] == expected
        await self.compare()

    async def compare(self) -> None:
        there = await self._logs.tail(self.id)
        assert there is not None
        assert known(there) == known(self.here)

    async def compare_events(self) -> None:
        there = await self._logs.since(self.id, self.here.epoch, 0)
        here = self.here.since(f"{self.here.epoch}-0")
        assert there is not None
        assert here is not None
        assert [
            Entry(
                each.number, each.name, {**each.fields(), "cursor": f"{each.epoch}-{each.number}"}
            )
            for each in there
        ] == here


def known(log: Log) -> dict[str, Any]:
    return {
        "cursor": log.cursor,
        "n": log.n,
        "position": log.position,
        "mark": log.mark,
        "live": {turn.id: (turn.n, turn.place, turn.status) for turn in log.live.values()},
        "turns": sorted(log.moment().turns, key=lambda turn: str(turn["id"])),
    }


# Anything at all


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Where a log may begin: with nothing, or in the middle of a conversation."""
    revision, done, waiting = draw(st.tuples(*[st.integers(0, 3)] * 3))
    live: list[LiveTurn] = []
    if draw(st.booleans()):
        texts = draw(st.lists(st.text(max_size=5), max_size=3))
        used = draw(st.integers(0, 2))
        live.append(
            LiveTurn(
                f"turn-{done + 1}",
                done + 1,
                done + 1,
                "running",
                draw(st.integers(1, 2)),
                texts,
                len(texts),
                [{"id": f"1.{use}", "name": "look", "status": "started"} for use in range(used)],
                used,
            )
        )
    for n in range(done + len(live) + 1, done + len(live) + 1 + waiting):
        live.append(LiveTurn(f"turn-{n}", n, n, "queued"))
    n = done + len(live)
    mark = draw(st.integers(0, 2 * n))
    return Checkpoint(n, Position(revision=revision, turn=n, answers=done), live, mark)


def test_both_say_the_same_of_whatever_is_told_and_know_the_same_after_it(redis: InRedis) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(checkpoint=checkpoints(), batches=BATCHES)
    def played(checkpoint: Checkpoint, batches: list[list[tuple[str, int]]]) -> None:
        redis.run(play(checkpoint, batches))

    async def play(checkpoint: Checkpoint, batches: list[list[tuple[str, int]]]) -> None:
        both = Both(redis.logs, checkpoint)
        await both.begin()
        teller = Teller()
        for moves in batches:
            # What is right next depends on what was just told: a log of the test's own knows.
            ahead = Log(both.id, both.here.checkpoint(), epoch=both.here.epoch)
            writes = []
            for move in moves:
                writes.append(teller.write(ahead, move))
                ahead.append(writes[-1].event)
            await both.append(writes)
        await both.compare_events()
        seen.update(both.verdicts)

    played()
    # It met every verdict.
    assert set(seen) == {"take", "skip", "stale", "behind", "lost"}


# Long answers


@pytest.mark.parametrize("together", [1, 7, MOST_TOGETHER])
def test_a_long_answer_is_told_whole_wherever_it_is_taken_up(redis: InRedis, together: int) -> None:
    async def play() -> None:
        both = Both(redis.logs, Checkpoint(0, Position(), []))
        await both.begin()
        turn = a_turn(1)
        writes = [Write(events.created(turn)), Write(events.started(turn))]
        text = ""
        uses: dict[str, dict[str, Any]] = {}
        for index in range(3 * SAID_EVERY + 50):
            piece = f"Wort {index}, „ß€𝄞“\n"
            text += piece
            said = used = ""
            if (index + 1) % SAID_EVERY == 0:
                said, used = text, json.dumps(list(uses.values())) if uses else ""
            writes.append(Write(events.delta(turn, index, piece), said=said, used=used))
            if index % 100 == 7:
                use = ToolUse(id=f"use {index}", name="look", status="finished", output="„so“")
                writes.append(Write(events.tool(turn, len(uses), use)))
                uses[use.id] = tool_shape(use)
        for first in range(0, len(writes), together):
            await both.append(writes[first : first + together])
        log = await redis.logs.tail(both.id)
        assert log is not None
        shown = log.live["turn-1"].shape()
        assert (shown["text"], shown["tools"]) == (text, list(uses.values()))
        await both.append([Write(events.ended(a_turn(1, "completed", answer=text)))])
        await both.compare_events()

    redis.run(play())


def test_a_second_attempt_has_nothing_of_what_the_first_had_said(redis: InRedis) -> None:
    async def play() -> None:
        both = Both(redis.logs, Checkpoint(0, Position(), []))
        await both.begin()
        first, second = a_turn(1), a_turn(1, attempt=2)
        await both.append([Write(events.created(first)), Write(events.started(first))])
        await both.append([Write(events.delta(first, 0, "first"), said="first")])
        await both.append([Write(events.started(second))])
        await both.append([Write(events.delta(second, 0, "second"))])
        log = await redis.logs.tail(both.id)
        assert log is not None
        assert log.live["turn-1"].shape()["text"] == "second"

    redis.run(play())


@pytest.mark.parametrize("identifier", ["7", "a/b", 'quo"te\\', "\x00\x7f\n", "ß𝄞", "-", "x" * 128])
def test_a_turn_may_have_any_id(redis: InRedis, identifier: str) -> None:
    async def play() -> None:
        both = Both(redis.logs, Checkpoint(0, Position(), []))
        await both.begin()
        told = ("created", 1, identifier, 1)
        begun = ("started", 1, identifier, 1)
        said = ("delta", 1, identifier, 1, 0, 2)
        await both.append(
            [
                Write(Event("message:created", told, {"message": {"content": "?"}})),
                Write(Event("turn:started", begun, {"turn_id": identifier})),
                Write(Event("turn:delta", said, {"turn_id": identifier, "text": "ja"})),
            ]
        )
        assert list(both.here.live) == [identifier]
        await both.compare_events()

    redis.run(play())
