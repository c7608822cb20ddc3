"""Threads for what is not async."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agent.threads import DaemonThreads


async def test_results_and_errors_come_back() -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreads(4))
    assert await asyncio.to_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 / 0)


async def test_there_are_no_more_than_are_needed_and_than_are_allowed() -> None:
    threads = DaemonThreads(3)
    loop = asyncio.get_running_loop()
    release = threading.Event()
    names: set[int] = set()

    def work() -> None:
        names.add(threading.get_ident())
        release.wait(10)

    waiting = [loop.run_in_executor(threads, work) for _ in range(5)]
    for _ in range(100):
        if len(names) == 3:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(names) == 3
    release.set()
    await asyncio.gather(*waiting)
    for _ in range(5):
        await loop.run_in_executor(threads, work)
    assert len(names) == 3


async def test_what_was_cancelled_before_it_began_is_not_done() -> None:
    threads = DaemonThreads(1)
    release, done = threading.Event(), []
    first = threads.submit(release.wait, 10)
    second = threads.submit(done.append, 1)
    assert second.cancel()
    release.set()
    await asyncio.wrap_future(first)
    await asyncio.wrap_future(threads.submit(done.append, 2))
    assert done == [2]


async def test_closing_it_waits_for_nobody() -> None:
    threads = DaemonThreads(1)
    release = threading.Event()
    threads.submit(release.wait, 10)
    begun = time.monotonic()
    threads.shutdown()
    assert time.monotonic() - begun < 1
    with pytest.raises(RuntimeError):
        threads.submit(int)
    release.set()


async def test_what_asks_the_process_to_end_ends_nothing_but_itself() -> None:
    """In a task an exit goes through the event loop."""

    def leave() -> None:
        raise SystemExit(3)

    threads = DaemonThreads(1)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await asyncio.get_running_loop().run_in_executor(threads, leave)
    threads.shutdown()
