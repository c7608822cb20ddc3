"""What a server does about news that reached the store, and perhaps nobody's ears."""

from __future__ import annotations

from pathlib import Path

from server.feed.upkeep import Upkeep
from tests.support.feed_world import CONVERSATION, USER, World, world


def the_upkeep_of(here: World, gone: list[str]) -> Upkeep:
    positions = here.store.conversations.positions
    return Upkeep(here.feeds, here.is_ours, positions, gone=gone.append)


async def opened(here: World) -> None:
    await here.begin_open(here.tabs[0], fresh=True)
    await here.settle()


async def test_what_two_looks_find_missing_is_told_anew(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        upkeep = the_upkeep_of(here, [])
        await opened(here)
        await here.accept(announced=False)
        await upkeep.compare()
        assert here.tabs[0].told == []
        await upkeep.compare()
        assert [name for name, _ in here.tabs[0].told] == ["conversation:snapshot"]
        assert here.tabs[0].messages == await here.truth()
        await upkeep.compare()
        await upkeep.compare()
        assert len(here.tabs[0].told) == 1


async def test_what_is_told_late_each_time_is_not_taken_for_missing(tmp_path: Path) -> None:
    """A busy conversation may lack something at every look, and never the same."""
    async with world(tmp_path) as here:
        upkeep = the_upkeep_of(here, [])
        await opened(here)
        for _ in range(5):
            await here.accept(announced=False)
            await upkeep.compare()
            late = here.waiting[-1]
            here.feeds.created(late)
            here.feeds.queued(late)
        await upkeep.compare()
        names = [name for name, _ in here.tabs[0].told]
        assert names == ["message:created", "turn:queued"] * 5


async def test_a_conversation_that_another_server_has_deleted_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        gone: list[str] = []
        upkeep = the_upkeep_of(here, gone)
        await opened(here)
        await upkeep.compare()
        assert gone == []
        await here.store.conversations.delete(CONVERSATION, USER)
        await upkeep.compare()
        assert gone == [CONVERSATION]


async def test_the_store_is_not_asked_of_what_nobody_follows(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        gone: list[str] = []
        upkeep = the_upkeep_of(here, gone)
        await opened(here)
        here.leave(here.tabs[0])
        await here.store.close()
        await upkeep.compare()
        assert gone == []
