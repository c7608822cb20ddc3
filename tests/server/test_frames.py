"""An answer cut into frames."""

from __future__ import annotations

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
