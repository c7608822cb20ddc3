"""The line of events on their way into one conversation's log. Free of I/O.

An event waits, is sent, is taken, and is heard; only then it leaves the line. What was sent or
taken but not heard when Redis goes, or when the log turns out to be another, waits again, in front:
the log's rules know what they have.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from server.feed.events import Event
from server.feed.log import Log

ANNOUNCING = ("created", "removed")
"""The kinds of events that announce a turn."""
MOST_TOGETHER = 64
"""Events in one append; more wait for the next."""


class Holder(Protocol):
    """Who writes an answer."""

    def holds(self) -> bool:
        """Whether its lease still stands."""
        ...

    def is_stale(self) -> None:
        """The log has a later attempt, or no such turn."""
        ...


class Write:
    """An event in the line."""

    __slots__ = (
        "at",
        "body",
        "done",
        "epoch",
        "event",
        "holder",
        "number",
        "rule",
        "said",
        "told",
        "used",
    )

    def __init__(
        self,
        event: Event,
        holder: Holder | None = None,
        said: str = "",
        told: Callable[[], None] | None = None,
        used: str = "",
    ) -> None:
        """``said`` is all that the event's answer has said with it, or "", and ``used`` the tools
        that it has used, as JSON, or "". ``told`` is called once the readers here have been told
        of it."""
        self.event = event
        self.holder = holder
        self.said = said
        self.used = used
        self.told = told
        self.rule, self.body = b"", b""
        self.epoch, self.number, self.at = "", 0, 0.0  # where the shared log took it, and when
        self.done: asyncio.Future[None] | None = None

    def encode(self, conversation_id: str) -> None:
        """For the shared log. Raises ``TypeError`` for what JSON can't carry."""
        if self.rule:
            return
        self.rule, self.body = self.event.rule_text(), self.event.body(conversation_id)

    @property
    def may_be_told(self) -> bool:
        """Without a lease nothing else keeps a stale word from the readers."""
        return self.holder is None or self.holder.holds()

    def settle(self, verdict: str) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)
        if verdict == "stale" and self.holder is not None:
            self.holder.is_stale()


class Line:
    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()
        self._sent: list[Write] = []
        self._unheard: deque[Write] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._sent or self._unheard)

    @property
    def is_under_way(self) -> bool:
        """Whether something was given to the shared log that was not heard of yet."""
        return bool(self._sent or self._unheard)

    def add(self, write: Write) -> None:
        self._waiting.append(write)

    def waiting(self) -> list[Write]:
        """What is not in the log, as far as is known here."""
        return [*self._unheard, *self._sent, *self._waiting]

    def first(self) -> Write | None:
        """What waits longest and may still be told."""
        while self._waiting:
            if self._waiting[0].may_be_told:
                return self._waiting[0]
            self._waiting.popleft().settle("stale")
        return None

    def pop(self) -> Write:
        return self._waiting.popleft()

    def put_in_order(self) -> bool:
        """By turns: one is stored before it is announced, and something of it, or of a later one,
        may be told in between. False where they are in order already."""
        ordered = sorted(self._waiting, key=_place)
        if ordered == list(self._waiting):
            return False
        self._waiting = deque(ordered)
        return True

    def send(self) -> list[Write]:
        """The next to be sent, together; none while others are on their way."""
        batch: list[Write] = []
        while not self._sent and len(batch) < MOST_TOGETHER and self.first() is not None:
            batch.append(self._waiting.popleft())
        self._sent = self._sent or batch
        return batch

    def is_sent(self, batch: list[Write]) -> bool:
        """False for one that was given up, and waits again."""
        return self._sent is batch

    def answered(self, epoch: str, number: int, verdicts: list[str]) -> None:
        """What was sent has these verdicts; what has none waits again. ``number`` is the last."""
        batch, self._sent = self._sent, []
        place, now = number - verdicts.count("take"), time.monotonic()
        for write, verdict in zip(batch, verdicts, strict=False):
            if verdict == "take":
                place += 1
                write.epoch, write.number, write.at = epoch, place, now
                self._unheard.append(write)
            write.settle(verdict)
        self._waiting.extendleft(reversed(batch[len(verdicts) :]))

    def heard(self, log: Log) -> None:
        """The log is known up to here."""
        while self._unheard:
            first = self._unheard[0]
            if first.epoch != log.epoch or first.number > log.number:
                return
            self._unheard.popleft()
            if first.told is not None:
                first.told()

    def is_unheard_for(self, seconds: float) -> bool:
        return bool(self._unheard) and time.monotonic() - self._unheard[0].at > seconds

    def again(self) -> None:
        """The shared log is lost: all that was not heard waits again."""
        self._waiting.extendleft(reversed([*self._unheard, *self._sent]))
        self._unheard.clear()
        self._sent = []

    def again_but_in(self, epoch: str) -> None:
        """The log is another now: what the one before it took waits again."""
        elsewhere = [write for write in self._unheard if write.epoch != epoch]
        self._unheard = deque(write for write in self._unheard if write.epoch == epoch)
        self._waiting.extendleft(reversed(elsewhere))

    def close(self) -> None:
        for write in [*self._sent, *self._waiting]:
            write.settle("skip")
        self._waiting.clear()
        self._unheard.clear()
        self._sent = []


def _place(write: Write) -> tuple[int, bool]:
    kind, n, *_ = write.event.rule
    return n, kind not in ANNOUNCING
