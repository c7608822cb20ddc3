"""A conversation's log: what it holds, what it says twice to nobody, what a cursor proves."""

from __future__ import annotations

import pytest

from memory.records import Answer, Position, Question, Turn, TurnStatus, answer_of, question_of
from server.feed.log import MAX_EVENTS, Log


def turn(n: int, status: TurnStatus = "running", *, attempt: int = 1) -> Turn:
    ended = status in ("completed", "stopped", "failed")
    return Turn(
        id=f"turn-{n}",
        conversation_id="c",
        user_id="u",
        n=n,
        question=Question(message_id=f"m{n}", content=f"question {n}", created_at=0),
        digest="d",
        accepted="running",
        status=status,
        attempt=attempt,
        answer=Answer(message_id=f"a{n}", content="answer", status="complete", created_at=0)
        if ended
        else None,
        answers=n if ended else None,
        created_at=0,
    )


@pytest.fixture
def log() -> Log:
    return Log("c", Position(), [])


def answered(log: Log, n: int) -> None:
    log.created(turn(n))
    log.started(turn(n))
    log.delta(turn(n), 0, "ans")
    log.delta(turn(n), 1, "wer")
    log.ended(turn(n, "completed"))


def test_a_turn_is_told_as_created_started_streamed_and_completed(log: Log) -> None:
    start = log.cursor
    answered(log, 1)
    events = log.since(start)
    assert events is not None
    assert [name for _, name, _ in events] == [
        "message:created",
        "turn:started",
        "turn:delta",
        "turn:delta",
        "turn:completed",
    ]
    cursors = [payload["cursor"] for _, _, payload in events]
    assert len(set(cursors)) == 5
    assert cursors[-1] == log.cursor


def test_what_is_said_again_goes_to_nobody_twice(log: Log) -> None:
    answered(log, 1)
    end = log.cursor
    assert log.created(turn(1)) is None
    assert log.queued(turn(1, "queued")) is None
    assert log.started(turn(1)) is None
    assert log.delta(turn(1), 0, "ans") is None
    assert log.ended(turn(1, "completed")) is None
    assert log.cursor == end


def test_a_delta_out_of_place_is_refused(log: Log) -> None:
    log.created(turn(1))
    log.started(turn(1))
    assert log.delta(turn(1), 1, "too early") is None
    assert log.delta(turn(1, attempt=2), 0, "of another attempt") is None
    assert log.delta(turn(1), 0, "in place") is not None


def test_a_later_attempt_begins_its_text_anew_and_silences_the_earlier(log: Log) -> None:
    log.created(turn(1))
    log.started(turn(1))
    log.delta(turn(1), 0, "first attempt")
    log.started(turn(1, attempt=2))
    assert log.delta(turn(1, attempt=1), 1, "a stale word") is None
    log.delta(turn(1, attempt=2), 0, "second")
    [live] = log.moment().turns
    assert (live["attempt"], live["text"], live["next_index"]) == (2, "second", 1)


@pytest.mark.parametrize("garbage", [None, "", "x", "1-1", "-", "zz-1", "\x00", "a" * 500])
def test_a_cursor_that_proves_nothing_gets_no_events(log: Log, garbage: str | None) -> None:
    answered(log, 1)
    assert log.since(garbage) is None


def test_a_cursor_of_another_epoch_or_of_the_future_gets_no_events(log: Log) -> None:
    other = Log("c", Position(), [])
    answered(log, 1)
    assert log.since(other.cursor) is None
    assert log.since(f"{log.epoch}-{log.number + 1}") is None
    assert log.since(log.cursor) == []


def test_a_cursor_older_than_the_log_gets_no_events(log: Log) -> None:
    start = log.cursor
    log.created(turn(1))
    log.started(turn(1))
    for index in range(MAX_EVENTS):
        log.delta(turn(1), index, "x")
    assert log.since(start) is None
    assert log.since(f"{log.epoch}-{log.number - MAX_EVENTS}") is not None


def test_a_moment_leaves_out_what_follows_as_an_event(log: Log) -> None:
    answered(log, 1)
    log.created(turn(2))
    log.started(turn(2))
    moment = log.moment()
    assert moment.position == Position(turn=2, answers=1)
    assert moment.holds(question_of(turn(2)))
    second_answer = answer_of(turn(2, "completed"))
    assert second_answer is not None
    assert not moment.holds(second_answer)
    assert not moment.holds(question_of(turn(3, "queued")))


def test_a_log_begins_with_the_open_turns_of_the_store() -> None:
    log = Log("c", Position(turn=2, answers=1), [turn(2), turn(3, "queued")])
    assert [live["id"] for live in log.moment().turns] == ["turn-2"]
    # The third came in while the checkpoint was read: it is announced like any other.
    assert log.created(turn(3, "queued")) is not None


def test_an_ended_turn_that_is_still_open_is_no_longer_live() -> None:
    log = Log("c", Position(turn=1, answers=1), [turn(1, "completed")])
    assert log.moment().turns == []
    assert log.ended(turn(1, "completed")) is None
