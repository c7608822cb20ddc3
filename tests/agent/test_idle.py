"""How long a stream may be idle."""

from __future__ import annotations

import asyncio

import pytest

from agent.idle import IdleTimeout

SHORT = 0.1


async def _come(chunks: int) -> None:
    """So many of them, then silence."""
    async with IdleTimeout(SHORT) as idle:
        for _ in range(chunks):
            idle.begins()
            await asyncio.sleep(SHORT / 2)
            idle.ends()
        idle.begins()
        await asyncio.Event().wait()


@pytest.mark.parametrize("chunks", [0, 3])
async def test_a_wait_that_lasts_too_long_ends(chunks: int) -> None:
    with pytest.raises(TimeoutError):
        await _come(chunks)


async def test_each_chunk_is_waited_for_anew() -> None:
    async with IdleTimeout(SHORT) as idle:
        for _ in range(5):
            idle.begins()
            await asyncio.sleep(SHORT / 2)
            idle.ends()


async def test_what_is_done_about_a_chunk_is_no_silence() -> None:
    async with IdleTimeout(SHORT) as idle:
        idle.begins()
        idle.ends()
        await asyncio.sleep(3 * SHORT)
        idle.begins()
        idle.ends()


async def test_without_a_limit_nothing_ends() -> None:
    async with IdleTimeout(None) as idle:
        idle.begins()
        await asyncio.sleep(SHORT)


async def test_who_is_cancelled_is_not_timed_out() -> None:
    async def wait() -> None:
        async with IdleTimeout(60.0) as idle:
            idle.begins()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
