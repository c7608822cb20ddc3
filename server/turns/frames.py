"""A streamed answer cut into frames: few enough to be cheap, quick enough to look like typing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# The first piece goes at once. 30 ms is below what a reader notices, and at 50 tokens a second
# already a third of the events less.
FRAME_SECONDS = 0.03
LONGEST_FRAME_SECONDS = 0.15

# A frame costs the same however much is in it. So it is a little longer with each answer that is
# being said beside this one, longer where the event loop works more than half of the time (by 15 ms
# for each tenth), and longer by far where it is late with all it does: then fewer frames are what
# brings it back in time.
FRAME_SECONDS_EACH = 0.00008
FRAME_SECONDS_BUSY = 0.15
BUSY = 0.5
FRAMES_FOR_LATENESS = 3.0
LATENESS_SMOOTHING = 0.02
BUSINESS_SMOOTHING = 0.3
# How often it is looked how much it works.
LOOK_SECONDS = 0.5

# Frames of all answers end at the same moments, so many go together: one batch to Redis and one
# reading of it, instead of one each, and those are most of what a frame costs.
MOMENT_SECONDS = 0.01

# Event loops wake a timer by a clock of whole milliseconds.
CLOCK_SECONDS = 0.001


class Pace:
    """How long a frame is now, for all answers that are being said in one process."""

    def __init__(self, answers: Callable[[], int] = lambda: 1) -> None:
        """``answers`` says how many these are."""
        self._answers = answers
        self._late = 0.0
        """By how many seconds timers come too late here, of late."""
        self._busy = 0.0
        """How much of the time the event loop works, of late."""
        self._looked_at = 0.0
        self._worked = time.thread_time()

    @property
    def seconds(self) -> float:
        wanted = (
            FRAME_SECONDS
            + FRAME_SECONDS_EACH * self._answers()
            + FRAME_SECONDS_BUSY * max(0.0, self._busy - BUSY)
            + FRAMES_FOR_LATENESS * self._late
        )
        return min(wanted, LONGEST_FRAME_SECONDS)

    def due(self, sent: float) -> float:
        """When the frame that was sent then is over; both by the event loop's clock."""
        if sent > self._looked_at + LOOK_SECONDS:
            self._look(sent, time.thread_time())
        return round((sent + self.seconds) / MOMENT_SECONDS) * MOMENT_SECONDS

    def _look(self, now: float, worked: float) -> None:
        """``worked``: the seconds that this thread has worked by then."""
        busy = (worked - self._worked) / (now - self._looked_at)
        self._busy += BUSINESS_SMOOTHING * (min(busy, 1.0) - self._busy)
        self._looked_at, self._worked = now, worked

    def came_late(self, seconds: float) -> None:
        """A frame's timer did, by so much."""
        self._late += LATENESS_SMOOTHING * (max(0.0, seconds) - self._late)


REPLACEMENT = "\ufffd"


def _to_nobody(index: int, text: str) -> None:
    """Nothing comes after the end."""


class Frames:
    """Joins what arrives within a frame. ``send`` gets each frame's index and text."""

    def __init__(self, send: Callable[[int, str], None], pace: Pace | None = None) -> None:
        self._send = send
        self._pace = pace or Pace()
        self._index = 0
        self._waiting: list[str] = []
        self._half = ""
        self._sent: list[str] = []
        self._due = 0.0
        """When the latest frame is over, by the event loop's clock."""
        self.since = 0.0
        """When the first piece of the latest frame came, by ``time.monotonic()``."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def text(self) -> str:
        """Everything added so far."""
        return self.sent + "".join(self._waiting)

    @property
    def sent(self) -> str:
        """What the frames so far add up to."""
        return "".join(self._sent)

    @property
    def next_index(self) -> int:
        return self._index

    def add(self, text: str) -> None:
        text = self._whole(text)
        if not text:
            return
        self._waiting.append(text)
        if self._timer is not None:
            return
        self.since = time.monotonic()
        loop = asyncio.get_running_loop()
        if loop.time() >= self._due - CLOCK_SECONDS:
            self.flush()
        else:
            self._timer = loop.call_at(self._due, self._flush_now, self._due)

    async def over(self) -> None:
        """Returns when the latest frame is over: what is added then is sent at once."""
        loop = asyncio.get_running_loop()
        if (left := self._due - loop.time()) > 0:
            await asyncio.sleep(left)
            self._pace.came_late(loop.time() - self._due)

    def end(self) -> None:
        """Send what waits; nothing is added any more."""
        if self._half:
            self._half = ""
            self._waiting.append(REPLACEMENT)
        self.flush()
        # Whose it is has this object, which the garbage collector would have to find out.
        self._send = _to_nobody

    def _whole(self, text: str) -> str:
        """Text that UTF-8 can express: no store and no log takes half a surrogate pair. Its other
        half may come with the next piece."""
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        if text.isascii():
            return text
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _flush_now(self, due: float) -> None:
        self._pace.came_late(asyncio.get_running_loop().time() - due)
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            text = "".join(self._waiting)
            self._waiting.clear()
            self._due = self._pace.due(asyncio.get_running_loop().time())
            self._sent.append(text)
            self._index += 1
            self._send(self._index - 1, text)
