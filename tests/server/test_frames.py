"""An answer cut into frames."""

from __future__ import annotations

import asyncio
import time

import pytest

from server.turns.frames import FRAME_SECONDS, LONGEST_FRAME_SECONDS, Frames, Pace
from tests.support.wait import wait_until


class Sent:
    def __init__(self) -> None:
        self.frames: list[tuple[int, str]] = []

    def __call__(self, index: int, text: str) -> None:
        self.frames.append((index, text))


async def test_the_first_piece_goes_at_once_and_what_follows_shares_a_frame() -> None:
    sent = Sent()
    frames = Frames(sent)
    frames.add("a")
    assert sent.frames == [(0, "a")]
    frames.add("b")
    frames.add("c")
    assert sent.frames == [(0, "a")]
    assert (frames.text, frames.sent, frames.next_index) == ("abc", "a", 1)
    await wait_until(lambda: len(sent.frames) == 2, "the frame is over", interval=0.005)
    assert sent.frames[1] == (1, "bc")


async def test_what_is_added_when_a_frame_is_over_is_sent_at_once() -> None:
    answers = 0
    pace = Pace(lambda: answers)
    sent = Sent()
    frames = Frames(sent, pace)
    await frames.over()  # there was none
    frames.add("a")
    await frames.over()
    answers = 1_000  # the next is a long one: it begins now
    frames.add("b")
    assert sent.frames == [(0, "a"), (1, "b")]
    frames.add("c")
    assert len(sent.frames) == 2


async def test_frames_of_many_answers_end_in_the_same_moments() -> None:
    loop = asyncio.get_running_loop()
    ends: list[float] = []

    async def say() -> None:
        frames = Frames(lambda index, text: ends.append(loop.time()))
        for _ in range(4):
            frames.add("a")
            await frames.over()

    speaking = []
    for _ in range(20):
        speaking.append(asyncio.create_task(say()))
        await asyncio.sleep(0.0013)
    await asyncio.wait(speaking)
    assert len(ends) == 80
    # Each answer has begun in a moment of its own; after that they share.
    assert len({round(end, 3) for end in ends}) < 50


async def test_the_end_sends_what_waits() -> None:
    sent = Sent()
    frames = Frames(sent)
    frames.add("a")
    frames.add("b")
    frames.end()
    assert sent.frames == [(0, "a"), (1, "b")]


async def test_a_character_torn_in_two_is_made_whole_or_replaced() -> None:
    sent = Sent()
    frames = Frames(sent)
    for piece in ("\ud83d", "\ude00", "\ud83d"):
        frames.add(piece)
    assert frames.text == "😀"
    frames.end()
    assert frames.text == "😀\ufffd"


@pytest.mark.parametrize(("answers", "seconds"), [(0, FRAME_SECONDS), (200, 0.046), (400, 0.062)])
def test_a_frame_is_longer_where_more_is_said(answers: int, seconds: float) -> None:
    assert Pace(lambda: answers).seconds == pytest.approx(seconds)


def test_no_frame_is_longer_than_a_reader_bears() -> None:
    assert Pace(lambda: 100_000).seconds == LONGEST_FRAME_SECONDS


def test_a_process_that_is_late_joins_more_until_it_is_in_time_again() -> None:
    pace = Pace(lambda: 0)
    for _ in range(200):
        pace.came_late(0.01)
    assert pace.seconds == pytest.approx(FRAME_SECONDS + 0.03, rel=0.05)
    for _ in range(200):
        pace.came_late(1.0)
    assert pace.seconds == LONGEST_FRAME_SECONDS
    for _ in range(500):
        pace.came_late(-0.001)  # clocks are not that exact
    assert pace.seconds == pytest.approx(FRAME_SECONDS, rel=0.05)


def test_a_loop_that_works_most_of_the_time_joins_more(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = 0.0
    monkeypatch.setattr(time, "thread_time", lambda: worked)
    pace = Pace(lambda: 0)
    for second in range(1, 40):
        worked += 0.4
        pace.due(float(second))
    assert pace.seconds == FRAME_SECONDS
    for second in range(40, 80):
        worked += 0.8
        pace.due(float(second))
    assert pace.seconds == pytest.approx(FRAME_SECONDS + 0.045, rel=0.02)
    assert pace.due(79.2) == pytest.approx(79.275, abs=0.006)


async def test_frames_tell_how_late_their_timers_come() -> None:
    late: list[float] = []

    class Told(Pace):
        def came_late(self, seconds: float) -> None:
            late.append(seconds)

    frames = Frames(Sent(), Told())
    frames.add("a")
    frames.add("b")
    await wait_until(lambda: late, "the timer comes", interval=0.005)
    assert late[0] >= -0.005
