"""Whatever happens while somebody comes to a feed or goes: snapshot and events make the whole.

The feed and the store are real. The memory is the store too, behind a gate, so that the moment at
which a snapshot's messages are read can be chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from memory.errors import Unavailable
from server.feed import feed as feed_module
from server.feed import mending, opening
from server.feed.feeds import Feeds
from tests.support.feed_world import CONVERSATION, LEASE_MS, World, world
from tests.support.folders import quick_folder
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


def run(play: Coroutine[Any, Any, None]) -> None:
    asyncio.run(play)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server waits for another's announcement, thousands of times here."""
    monkeypatch.setattr(opening, "CATCH_UP_SECONDS", 0.01)
    monkeypatch.setattr(opening, "CATCH_UP_PAUSE", 0.002)
    monkeypatch.setattr(feed_module, "BEHIND_PAUSE", 0.001)
    monkeypatch.setattr(feed_module, "BEHIND_SECONDS", 0.01)
    monkeypatch.setattr(mending, "FIRST_PAUSE", 0.002)


TAB_STEPS = ("open", "come back", "opened", "withdraw", "leave")
STEPS = st.one_of(
    st.sampled_from(["accept", "start", "delta", "delta", "end", "shut", "let", "look"]),
    st.tuples(st.sampled_from(TAB_STEPS), st.integers(0, 2)),
)
FOREIGN = st.sampled_from(["accept elsewhere", "go elsewhere", "lose memory"])


async def step(here: World, what: Any) -> None:
    if isinstance(what, tuple):
        name, number = what
        tab = here.tabs[number]
        if name in ("open", "come back"):
            await here.begin_open(tab, fresh=name == "open")
        elif name == "leave":
            here.leave(tab)
        else:
            await here.end_open(tab, withdrawn=name == "withdraw")
    elif what == "shut":
        here.memory.gate.clear()
    elif what == "let":
        here.memory.gate.set()
    elif what == "lose memory":
        here.memory.away = not here.memory.away
    elif what == "go elsewhere":
        # The turns that are open from here on are another server's: this one hears nothing.
        here.elsewhere = True
    elif what == "accept elsewhere":
        here.elsewhere = True
        await here.accept(announced=False)
    elif what == "look":
        if here.memory.gate.is_set() and not here.memory.away:
            await here.look_elsewhere()
    else:
        await getattr(here, what)()


@given(st.lists(STEPS, min_size=50, max_size=120))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_reader_sees_each_event_once_whenever_it_opens_closes_or_comes_back(
    steps: list[Any],
) -> None:
    async def play() -> None:
        with quick_folder() as folder:
            async with world(folder) as here:
                for what in steps:
                    await step(here, what)
                await here.settle()
                await here.quiet()
                truth = await here.truth()
                running = here.running
                for tab in here.tabs:
                    if CONVERSATION in tab.connection.following:
                        assert tab.messages == truth
                        if running is not None:
                            status, _, text, next_index = tab.turns[running.id]
                            assert status == "running"
                            assert next_index == here.index
                            assert text == "".join(f"{each} " for each in range(here.index))
                        assert len(tab.turns) == len(here.waiting) + (running is not None)
                told = [event for tab in here.tabs for event in tab.told]
                assert "conversation:snapshot" not in {name for name, _ in told}
                assert len({cursor.partition("-")[0] for _, cursor in told}) <= 1

    run(play())


@given(st.lists(st.one_of(STEPS, STEPS, FOREIGN), min_size=50, max_size=120))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_reader_is_never_left_behind_by_what_another_server_did(steps: list[Any]) -> None:
    async def play() -> None:
        with quick_folder() as folder:
            async with world(folder) as here:
                for what in steps:
                    # A log that lacks a turn is begun anew from memory, which must be there then.
                    if here.elsewhere and what in ("accept", "shut", "lose memory"):
                        continue
                    if what in ("go elsewhere", "accept elsewhere"):
                        await here.settle()
                    await step(here, what)
                await here.settle()
                await here.look_elsewhere()
                truth = await here.truth()
                for tab in here.tabs:
                    await here.begin_open(tab, fresh=False)
                await here.settle()
                await here.quiet()
                for tab in here.tabs:
                    assert tab.messages == truth

    run(play())


async def test_a_failed_opening_leaves_who_was_on_the_feed_without_a_gap(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept()
        here.memory.gate.clear()
        here.memory.away = True
        await here.begin_open(tab, fresh=True)
        await here.start()
        await here.delta()
        here.memory.gate.set()
        assert tab.opening is not None
        with pytest.raises(Unavailable):
            await tab.opening
        assert here.feeds.follows(tab.connection, CONVERSATION)
        await here.delta()
        await here.end()
        assert tab.messages == {1: "question 1", 2: "0 1 "}


@pytest.mark.parametrize("after", ["a failed opening", "a withdrawn one"])
async def test_who_was_not_on_the_feed_is_not_after_an_opening_that_came_to_nothing(
    tmp_path: Path, after: str
) -> None:
    """Else a message that is sent next would not put it there: its answer would be told nobody."""
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        here.memory.away = after == "a failed opening"
        await here.begin_open(tab, fresh=True)
        await here.end_open(tab, withdrawn=True)
        assert not here.feeds.follows(tab.connection, CONVERSATION)
        await here.accept()
        await here.quiet()
        assert tab.told == []


async def test_a_turn_that_was_never_announced_is_shown_before_the_next(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept(announced=False)
        await here.accept()
        await here.quiet()
        assert tab.messages == {1: "question 1", 3: "question 2"}
        for _ in range(2):
            await here.start()
            await here.delta()
            await here.end()
        assert tab.messages == await here.truth()
        assert len(tab.messages) == 4


async def test_a_new_log_that_has_just_what_was_told_goes_on_in_the_middle_of_an_answer(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.accept()
        await here.start()
        await here.delta()
        await here.begin_open(tab, fresh=True)
        await here.settle()
        before = tab.cursor
        await here.feeds.renew(CONVERSATION)
        await here.delta()
        await here.end()
        assert tab.messages == {1: "question 1", 2: "0 1 "}
        assert [name for name, _ in tab.told] == ["turn:delta", "turn:completed"]
        assert before is not None
        assert tab.cursor is not None
        assert before.partition("-")[0] != tab.cursor.partition("-")[0]


async def test_a_new_log_that_has_more_than_was_told_is_shown_in_the_middle_of_an_answer(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.accept()
        await here.start()
        await here.delta()
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept(announced=False)
        await here.feeds.renew(CONVERSATION)
        assert [name for name, _ in tab.told] == ["conversation:snapshot"]
        assert tab.turns == {"turn 1": ("running", 1, "0 ", 1), "turn 2": ("queued", 0, "", 0)}
        await here.delta()
        await here.end()
        assert tab.messages == {1: "question 1", 2: "0 1 ", 3: "question 2"}


async def test_a_log_is_renewed_for_those_who_follow_it_on_another_server(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """As after the return from the spool of a server that has just begun: nobody follows there."""
    async with world(tmp_path, redis_server.url) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept(announced=False)
        there = Feeds(
            here.deliver, here.store, here.memory, redis_url=redis_server.url, server="them"
        )
        await there.connect()
        try:
            await there.renew(CONVERSATION)
            await wait_until(lambda: tab.told, "it is told")
        finally:
            await there.close()
        assert [name for name, _ in tab.told] == ["conversation:snapshot"]
        assert tab.messages == await here.truth()


async def test_a_later_attempt_elsewhere_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.accept()
        await here.start()
        await here.delta()
        await here.begin_open(tab, fresh=True)
        await here.settle()
        assert here.running is not None
        await here.store.turns.release("us")
        taken = await here.store.turns.claim(here.running, "them", lease_ms=LEASE_MS)
        assert taken is not None
        here.elsewhere = True
        await here.look_elsewhere()
        assert tab.turns == {"turn 1": ("running", 2, "", 0)}
        here.running = replace(taken)
        await here.delta()
        await here.end()
        await here.look_elsewhere()
        assert (tab.messages, tab.turns) == (await here.truth(), {})


@pytest.mark.parametrize("also_run_elsewhere", [False, True])
async def test_what_ended_elsewhere_is_shown_before_a_later_turn_goes_on_here(
    tmp_path: Path, also_run_elsewhere: bool
) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept()
        await here.accept()
        here.elsewhere = True
        await here.start()
        await here.delta()
        await here.end()
        here.elsewhere = also_run_elsewhere  # then only its end is told here
        await here.start()
        await here.delta()
        here.elsewhere = False
        await here.end()
        assert (tab.messages, tab.turns) == (await here.truth(), {})
        # The cursor of such a log proves that nothing was missed.
        here.leave(tab)
        await here.begin_open(tab, fresh=False)
        await here.settle()
        assert (tab.messages, tab.turns) == (await here.truth(), {})
