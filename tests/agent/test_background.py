"""Work in the background after a turn's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from agent.background import Background
from agent.errors import ProviderUnavailable
from tests.support.wait import wait_until


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    background = Background("test", "It could not be done.", max_running=2, max_waiting=1)
    yield background
    await background.close()


def work(done: list[str], name: str, gate: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        done.append(f"{name} begins")
        await gate.wait()
        done.append(f"{name} ends")

    return run


async def test_a_few_run_at_once_a_few_wait_and_the_rest_is_turned_away(
    background: Background,
) -> None:
    done: list[str] = []
    gate = asyncio.Event()
    started = [background.start(name, work(done, name, gate)) for name in "abcd"]
    assert started == [True, True, True, False]
    await wait_until(lambda: len(done) == 2, "two run")
    gate.set()
    await wait_until(lambda: background.idle, "all is done")
    assert sorted(done) == sorted(f"{name} {what}" for name in "abc" for what in ("begins", "ends"))


async def test_one_piece_of_work_a_key_at_a_time(background: Background) -> None:
    done: list[str] = []
    gate = asyncio.Event()
    assert background.start("a", work(done, "first", gate))
    assert not background.start("a", work(done, "second", gate))
    gate.set()
    await wait_until(lambda: background.idle, "it is done")
    assert background.start("a", work(done, "third", gate))


async def test_a_provider_that_fails_is_a_line_in_the_log(
    background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise ProviderUnavailable

    background.start("a", fails)
    await wait_until(lambda: background.idle, "it has failed")
    assert [record.message for record in caplog.records] == ["It could not be done."]


async def test_closing_ends_what_runs_and_begins_nothing_more(background: Background) -> None:
    done: list[str] = []
    background.start("a", work(done, "a", asyncio.Event()))
    await wait_until(lambda: done, "it runs")
    await background.close()
    assert not background.start("b", work(done, "b", asyncio.Event()))
    assert done == ["a begins"]
