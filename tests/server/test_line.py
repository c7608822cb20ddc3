"""The line of what is on its way into a log: in what order it goes, and what waits again."""

from __future__ import annotations

from memory.records import Position
from server.feed import events
from server.feed.events import Event
from server.feed.line import MOST_TOGETHER, Line, Write
from server.feed.log import Checkpoint, Log
from tests.support.turns import a_turn


class Holder:
    def __init__(self) -> None:
        self.is_held = True
        self.staleness = 0

    def holds(self) -> bool:
        return self.is_held

    def is_stale(self) -> None:
        self.staleness += 1


def a_line(*told: Event | Write) -> Line:
    line = Line()
    for each in told:
        line.add(each if isinstance(each, Write) else Write(each))
    return line


def kinds(writes: list[Write]) -> list[tuple[str, int]]:
    return [write.event.rule[:2] for write in writes]


DELTAS = [events.delta(a_turn(1), index, "x") for index in range(3)]


def test_what_is_sent_together_is_no_more_than_fits_and_goes_alone() -> None:
    line = a_line(*(events.delta(a_turn(1), index, "x") for index in range(100)))
    batch = line.send()
    assert len(batch) == MOST_TOGETHER
    assert line.send() == []
    assert line.is_sent(batch)
    line.answered("7", MOST_TOGETHER, ["take"] * MOST_TOGETHER)
    assert len(line.send()) == 100 - MOST_TOGETHER


def test_what_has_no_verdict_waits_again_in_front() -> None:
    line = a_line(*DELTAS)
    line.send()
    line.add(Write(events.ended(a_turn(1, "completed"))))
    line.answered("7", 1, ["take"])
    assert kinds(line.send()) == [("delta", 1), ("delta", 1), ("ended", 1)]


def test_what_was_taken_is_in_the_line_until_it_is_heard() -> None:
    line = a_line(*DELTAS)
    line.send()
    line.answered("7", 12, ["skip", "take", "take"])
    assert line.is_under_way
    line.heard(Log("c", Checkpoint(1, Position(), []), epoch="7", number=11))
    assert len(line.waiting()) == 1
    line.heard(Log("c", Checkpoint(1, Position(), []), epoch="8", number=12))
    assert line
    line.heard(Log("c", Checkpoint(1, Position(), []), epoch="7", number=12))
    assert not line


def test_what_was_sent_or_not_heard_goes_again_before_all_else() -> None:
    line = a_line(*DELTAS[:2])
    line.send()
    line.answered("7", 1, ["take"])
    batch = line.send()
    line.add(Write(DELTAS[2]))
    line.again()
    assert not line.is_sent(batch)
    assert [write.event for write in line.send()] == DELTAS


def test_only_what_another_log_took_goes_again_into_a_new_one() -> None:
    line = a_line(*DELTAS)
    line.send()
    line.answered("7", 3, ["take"] * 3)
    line.again_but_in("7")
    assert line.send() == []
    line.again_but_in("8")
    assert [write.event for write in line.send()] == DELTAS


def test_what_is_no_longer_held_is_told_to_nobody() -> None:
    holder = Holder()
    line = a_line(Write(DELTAS[0], holder), Write(events.created(a_turn(2))))
    holder.is_held = False
    assert kinds(line.send()) == [("created", 2)]
    assert holder.staleness == 1


def test_a_turn_is_told_before_what_is_told_of_it_however_it_came_into_the_line() -> None:
    edit = a_turn(3, "queued", place=2, revision=1, rewrites=True)
    started = events.started(a_turn(3))
    first = events.delta(a_turn(3), 0, "x")
    superseded = events.ended(a_turn(2, "stopped", attempt=0))
    line = a_line(started, first, superseded, events.removed(edit, [], answers=1))
    line.add(Write(events.created(edit)))
    line.add(Write(events.created(a_turn(1))))
    assert line.put_in_order()
    assert not line.put_in_order()
    assert kinds(line.send()) == [
        ("created", 1),
        ("ended", 2),
        ("removed", 3),
        ("created", 3),
        ("started", 3),
        ("delta", 3),
    ]
