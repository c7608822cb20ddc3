"""Group commit by itself: who is written with whom, and who waits how long."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from memory.errors import Duplicate, Unavailable
from stores.group_commit import GroupCommit


class Recorder:
    """A place to write to that can be held up."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, items: list[Any]) -> list[Any]:
        self.groups.append(items)
        await self.open.wait()
        return [Duplicate() if item == "duplicate" else f"{item}!" for item in items]


def committing(recorder: Recorder, **limits: Any) -> GroupCommit[Any, Any]:
    defaults: dict[str, Any] = {"most_together": 10, "most_waiting": 20, "patience": 10.0}
    return GroupCommit(recorder.write, **{**defaults, **limits})


async def started(*submissions: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(submission) for submission in submissions]
    await asyncio.sleep(0)  # each has taken its place in the queue
    await asyncio.sleep(0)  # and the writer has begun
    return tasks


async def test_what_arrives_during_a_write_is_written_together_next() -> None:
    recorder = Recorder()
    recorder.open.clear()
    group = committing(recorder, most_together=3)
    first = await started(group.submit(0))
    rest = await started(*(group.submit(i) for i in range(1, 6)))
    recorder.open.set()
    assert await asyncio.gather(*first, *rest) == ["0!", "1!", "2!", "3!", "4!", "5!"]
    assert recorder.groups == [[0], [1, 2, 3], [4, 5]]


async def test_an_outcome_that_is_an_error_is_raised_to_its_caller_only() -> None:
    group = committing(Recorder())
    outcomes = await asyncio.gather(
        group.submit("a"), group.submit("duplicate"), group.submit("b"), return_exceptions=True
    )
    assert isinstance(outcomes.pop(1), Duplicate)
    assert outcomes == ["a!", "b!"]


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a mistake")])
async def test_an_error_of_the_write_is_raised_to_all_and_the_next_is_tried_anew(
    error: Exception,
) -> None:
    fails = True

    async def write(items: list[str]) -> list[str]:
        if fails:
            raise error
        return items

    group: GroupCommit[str, str] = GroupCommit(write, most_together=9, most_waiting=9, patience=9.0)
    outcomes = await asyncio.gather(group.submit("a"), group.submit("b"), return_exceptions=True)
    assert outcomes == [error, error]
    fails = False
    assert await group.submit("c") == "c"


async def test_a_cancelled_caller_takes_its_item_back_while_it_waits() -> None:
    recorder = Recorder()
    recorder.open.clear()
    group = committing(recorder)
    [under_way] = await started(group.submit("under way"))
    waiting, staying = await started(group.submit("waiting"), group.submit("staying"))
    under_way.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    recorder.open.set()
    assert await staying == "staying!"
    # What was under way when its caller left is written all the same.
    assert recorder.groups == [["under way"], ["staying"]]
    assert under_way.cancelled()
    assert waiting.cancelled()


async def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    recorder = Recorder()
    recorder.open.clear()
    group = committing(recorder, most_waiting=2)
    tasks = await started(group.submit(0))
    tasks += await started(group.submit(1), group.submit(2))
    with pytest.raises(Unavailable, match="Too many"):
        await group.submit(3)
    recorder.open.set()
    assert await asyncio.gather(*tasks) == ["0!", "1!", "2!"]


async def test_a_caller_waits_only_as_long_as_its_patience() -> None:
    recorder = Recorder()
    recorder.open.clear()
    group = committing(recorder, patience=0.05)
    with pytest.raises(Unavailable, match="in time"):
        await group.submit("late")
    recorder.open.set()
    assert await group.submit("next") == "next!"


async def test_closing_waits_for_what_was_submitted() -> None:
    recorder = Recorder()
    recorder.open.clear()
    group = committing(recorder)
    tasks = await started(group.submit("a"))
    tasks += await started(group.submit("b"))
    closing = asyncio.create_task(group.close())
    await asyncio.sleep(0)
    assert not closing.done()
    recorder.open.set()
    await closing
    await asyncio.gather(*tasks)
    assert recorder.groups == [["a"], ["b"]]


async def test_after_several_the_next_group_waits_for_more() -> None:
    recorder = Recorder()
    group = committing(recorder, apart=0.2)
    await asyncio.gather(group.submit(1), group.submit(2))
    begun = time.monotonic()
    third = await started(group.submit(3))
    await asyncio.sleep(0.05)
    await asyncio.gather(*third, group.submit(4))
    assert recorder.groups == [[1, 2], [3, 4]]
    assert time.monotonic() - begun > 0.15


async def test_who_comes_alone_waits_for_nobody() -> None:
    recorder = Recorder()
    group = committing(recorder, apart=60)
    async with asyncio.timeout(5):
        for i in range(5):
            await group.submit(i)
    assert recorder.groups == [[0], [1], [2], [3], [4]]


async def test_who_is_wanted_soon_takes_along_those_who_wait() -> None:
    recorder = Recorder()
    group = committing(recorder, apart=60)
    await asyncio.gather(group.submit(1), group.submit(2))
    third = await started(group.submit(3))
    async with asyncio.timeout(5):
        await asyncio.gather(*third, group.submit(4, soon=True))
    assert recorder.groups == [[1, 2], [3, 4]]
