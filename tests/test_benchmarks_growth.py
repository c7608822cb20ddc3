"""The benchmarks of openings and of growth measure what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import growth, opening
from benchmarks.audience import audience
from benchmarks.connections import connects, crowds
from benchmarks.feed_delivery import deliveries
from benchmarks.samples import ENDED_TURNS_A_CONVERSATION
from tests.support.mongod import require_mongod
from tests.support.redis_server import redis_server_binary


async def test_every_way_of_opening_takes_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server_binary()
    monkeypatch.setattr(opening, "A_ROUND", 3)
    windows = await opening.opens("SQLite", rounds=1)
    assert windows.keys() == {*opening.WAYS}
    assert all(window.seconds > 0 for [window] in windows.values())


async def test_each_work_is_measured_with_few_and_with_many_feeds() -> None:
    redis_server_binary()
    found = await growth.conversations(10, 20, rounds=1)
    for works in found.values():
        assert {name: len(windows) for name, windows in works.items()} == {
            "open": 1,
            "tell": 1,
            "rest": 1,
        }
        assert all(window.cpu > 0 for windows in works.values() for window in windows)


async def test_the_small_and_the_large_store_do_the_same(tmp_path: Path) -> None:
    turns = 3 * ENDED_TURNS_A_CONVERSATION
    async with growth.sqlite_stores(tmp_path, turns) as stores:
        timings = await growth.of_stores(stores, rounds=1)
    small = growth.SMALL_TURNS
    assert timings.seconds.keys() == {
        f"{work} {count}" for work in ("load", "store") for count in (small, turns)
    }


async def test_the_same_readers_can_be_asked_again_by_another_label() -> None:
    async with audience(2) as readers:
        for label in ("a", "b"):
            windows = await deliveries(readers, 2, rounds=1, names=("here",), label=label)
            assert windows.keys() == {"here"}
        with pytest.raises(AssertionError, match="out of order"):
            await deliveries(readers, 2, rounds=1, names=("here",), label="b")


async def test_silent_clients_are_let_in_by_every_server() -> None:
    redis_server_binary()
    require_mongod()
    async with crowds() as here:
        windows = await connects(here, clients=5, rounds=1)
        states = [await crowd.state() for crowd in here.values()]
    assert all(window.seconds > 0 for [window] in windows.values())
    assert [state["connected"] for state in states] == [10, 10, 10]
