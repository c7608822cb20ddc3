"""A conversation's log: what it holds, what it says twice to nobody, what a cursor proves."""

from __future__ import annotations

import msgspec
import pytest

from memory.records import Position, ToolUse, Turn, answer_of, question_of
from server.feed import events
from server.feed.events import Event
from server.feed.keys import MAX_BYTES, MAX_EVENTS
from server.feed.log import Checkpoint, Entry, LiveTurn, Log, Verdict
from tests.support.turns import a_turn

EMPTY = Checkpoint(0, Position(), [])


@pytest.fixture
def log() -> Log:
    return Log("c", EMPTY)


def tell(log: Log, *told: Event) -> list[Verdict]:
    return [log.append(event)[0] for event in told]


def journey(n: int, *, attempt: int = 1) -> list[Event]:
    turn = a_turn(n, attempt=attempt)
    return [
        events.created(turn),
        events.started(turn),
        events.delta(turn, 0, "ans"),
        events.delta(turn, 1, "wer"),
        events.ended(a_turn(n, "completed", attempt=attempt)),
    ]


def created(*numbers: int) -> list[Event]:
    return [events.created(a_turn(n, "queued")) for n in numbers]


def put_aside(n: int) -> Event:
    """The end of a turn that was open when another took its place."""
    return events.ended(msgspec.structs.replace(a_turn(n), status="stopped"))


# What is told


def test_a_turn_is_told_as_created_started_streamed_and_completed(log: Log) -> None:
    start = log.cursor
    assert tell(log, *journey(1)) == ["take"] * 5
    entries = log.since(start)
    assert entries is not None
    assert [entry.name for entry in entries] == [
        "message:created",
        "turn:started",
        "turn:delta",
        "turn:delta",
        "turn:completed",
    ]
    assert [entry.payload["cursor"] for entry in entries] == [
        f"{log.epoch}-{number}" for number in range(1, 6)
    ]
    assert {entry.payload["conversation_id"] for entry in entries} == {"c"}


def test_what_is_said_again_goes_to_nobody_twice(log: Log) -> None:
    tell(log, *journey(1))
    end = log.cursor
    again = [
        events.created(a_turn(1)),
        events.queued(a_turn(1, "queued")),
        events.ended(a_turn(1, "completed")),
    ]
    assert tell(log, *again) == ["skip"] * 3
    assert log.cursor == end


def test_what_is_said_again_of_a_turn_that_runs_goes_to_nobody_twice(log: Log) -> None:
    told = journey(1)[:-1]
    tell(log, *told)
    assert tell(log, *told, events.queued(a_turn(1, "queued"))) == ["skip"] * 5


def test_what_a_turn_that_has_ended_still_says_is_stale(log: Log) -> None:
    tell(log, *journey(1))
    assert tell(log, events.started(a_turn(1)), events.delta(a_turn(1), 2, "!")) == ["stale"] * 2


def test_a_delta_out_of_place_shows_that_something_is_lost(log: Log) -> None:
    tell(log, events.created(a_turn(1)), events.started(a_turn(1)))
    assert tell(log, events.delta(a_turn(1), 1, "too early")) == ["lost"]
    assert tell(log, events.delta(a_turn(1, attempt=2), 0, "of no attempt yet")) == ["lost"]
    assert tell(log, events.delta(a_turn(1), 0, "in place")) == ["take"]


def test_a_delta_of_a_turn_that_was_never_started_shows_that_something_is_lost(log: Log) -> None:
    tell(log, *created(1))
    assert tell(log, events.delta(a_turn(1), 0, "text")) == ["lost"]


def test_a_turn_that_starts_before_an_earlier_has_ended_shows_that_something_is_lost(
    log: Log,
) -> None:
    tell(log, *created(1, 2))
    assert tell(log, events.started(a_turn(2))) == ["lost"]
    tell(log, *journey(1)[1:])
    assert tell(log, events.started(a_turn(2))) == ["take"]


def test_a_turn_before_which_another_is_missing_is_behind(log: Log) -> None:
    assert tell(log, *created(2)) == ["behind"]
    of_the_third = [events.queued(a_turn(3)), events.started(a_turn(3)), *journey(3)[-1:]]
    assert tell(log, *of_the_third) == ["behind"] * 3
    assert tell(log, *created(1, 2, 3)) == ["take"] * 3
    assert (log.n, log.position) == (3, Position(turn=3))


def test_an_end_before_which_some_of_its_answer_is_missing_is_behind(log: Log) -> None:
    *_, last_delta, end = told = journey(1)
    tell(log, *told[:-2])
    assert tell(log, end) == ["behind"]
    assert tell(log, last_delta, end) == ["take", "take"]


def test_an_end_with_less_than_was_said_shows_that_something_is_lost(log: Log) -> None:
    tell(log, *journey(1)[:-1])
    assert tell(log, events.ended(a_turn(1, "completed", answer="ans"))) == ["lost"]
    assert tell(log, events.ended(a_turn(1, "completed", answer="answer!"))) == ["behind"]


# Attempts


def test_a_later_attempt_begins_its_text_anew_and_silences_the_earlier(log: Log) -> None:
    tell(log, *journey(1)[:-1])
    assert tell(log, events.started(a_turn(1, attempt=2))) == ["take"]
    stale = [events.delta(a_turn(1), 2, "a stale word"), events.started(a_turn(1))]
    assert tell(log, *stale) == ["stale"] * 2
    tell(log, events.delta(a_turn(1, attempt=2), 0, "second"))
    [live] = log.moment().turns
    assert (live["attempt"], live["text"], live["next_index"]) == (2, "second", 1)


def test_an_end_with_more_than_was_told_is_behind_and_of_an_earlier_attempt_lost(
    log: Log,
) -> None:
    tell(log, *journey(1, attempt=2)[:-2])
    assert tell(log, events.ended(a_turn(1, "completed", attempt=1))) == ["lost"]
    assert tell(log, events.ended(a_turn(1, "completed", attempt=3))) == ["behind"]
    assert tell(log, events.ended(a_turn(1, "completed", attempt=2))) == ["behind"]


def test_an_end_that_keeps_what_an_attempt_before_it_has_said_is_taken(log: Log) -> None:
    tell(log, *journey(1, attempt=1)[:-1])
    other = events.ended(a_turn(1, "completed", attempt=2, answer="rewsna"))  # as long, by chance
    assert tell(log, other) == ["behind"]
    assert tell(log, events.ended(a_turn(1, "stopped", attempt=2))) == ["take"]


def test_a_turn_stopped_while_it_waited_counts_no_answer(log: Log) -> None:
    tell(log, *created(1))
    assert tell(log, events.ended(a_turn(1, "stopped", attempt=0))) == ["take"]
    assert (log.position, log.moment().turns) == (Position(turn=1), [])


# Edits and regenerates


def edit(log: Log, n: int, *, place: int, revision: int, superseded: list[Turn]) -> list[Verdict]:
    turn = a_turn(n, "queued", place=place, revision=revision, rewrites=True)
    removed = events.removed(turn, superseded, answers=place - 1)
    return tell(log, removed, events.created(turn))


def ended(*numbers: int) -> list[Turn]:
    return [a_turn(n, "completed") for n in numbers]


def test_an_edit_takes_away_what_followed_and_asks_anew(log: Log) -> None:
    for n in (1, 2):
        tell(log, *journey(n))
    tell(log, *created(3), put_aside(3))
    verdicts = edit(log, 4, place=2, revision=1, superseded=[*ended(2), a_turn(3, "queued")])
    assert verdicts == ["take", "take"]
    told = log.since(f"{log.epoch}-{log.number - 2}")
    assert told is not None
    assert [entry.name for entry in told] == ["message:removed", "message:created"]
    assert told[0].payload["message_ids"] == ["m2", "a2", "m3"]
    assert told[1].payload["message"]["seq"] == 3
    assert (log.n, log.position) == (4, Position(revision=1, turn=2, answers=1))
    assert [turn["id"] for turn in log.moment().turns] == ["turn-4"]


def test_a_regenerate_keeps_its_question_and_takes_its_answer_away(log: Log) -> None:
    for n in (1, 2):
        tell(log, *journey(n))
    turn = a_turn(3, "queued", place=1, revision=1, asks_again=1)
    verdict, entry = log.append(events.removed(turn, ended(1, 2), answers=0))
    assert verdict == "take"
    assert entry is not None
    assert entry.payload["message_ids"] == ["a1", "m2", "a2"]
    assert (log.n, log.position) == (3, Position(revision=1, turn=1, answers=0))
    assert [turn["id"] for turn in log.moment().turns] == ["turn-3"]
    running = a_turn(3, place=1, revision=1, asks_again=1)
    assert tell(log, events.started(running), events.delta(running, 0, "anew")) == ["take"] * 2


def test_an_answer_that_was_told_after_an_edit_had_asked_the_store_is_counted(log: Log) -> None:
    superseded = a_turn(2, "stopped", attempt=0)
    tell(log, *created(1, 2), *journey(1)[1:], events.ended(superseded))
    turn = a_turn(3, "queued", place=2, revision=1, rewrites=True)
    assert tell(log, events.removed(turn, [superseded], answers=0)) == ["take"]
    assert log.position == Position(revision=1, turn=1, answers=1)


def test_an_edit_that_is_told_again_takes_nothing_more_away(log: Log) -> None:
    tell(log, *journey(1))
    for _ in range(2):
        verdicts = edit(log, 2, place=1, revision=1, superseded=ended(1))
    assert verdicts == ["skip", "skip"]
    tell(log, *created(3))
    assert edit(log, 2, place=1, revision=1, superseded=ended(1)) == ["skip", "skip"]
    assert len(log.moment().turns) == 2


def test_an_edit_before_which_a_turn_is_missing_is_behind(log: Log) -> None:
    tell(log, *created(1))
    assert edit(log, 3, place=1, revision=1, superseded=[]) == ["behind", "behind"]


def test_an_edit_before_which_an_edit_is_missing_shows_that_something_is_lost(log: Log) -> None:
    tell(log, *created(1))
    turn = a_turn(2, "queued", place=1, revision=2, rewrites=True)
    assert tell(log, events.removed(turn, [], answers=0)) == ["lost"]


def test_an_edit_of_what_has_not_ended_for_all_that_was_told_asks_for_a_new_log(log: Log) -> None:
    tell(log, *journey(1)[:-1])
    assert edit(log, 2, place=1, revision=1, superseded=[a_turn(1)])[0] == "lost"


def test_what_was_superseded_while_it_was_answered_is_stale_from_then_on(log: Log) -> None:
    tell(log, *journey(1)[:-1], put_aside(1))
    edit(log, 2, place=1, revision=1, superseded=[a_turn(1)])
    stale = [events.delta(a_turn(1), 2, "!"), events.started(a_turn(1, attempt=2))]
    assert tell(log, *stale) == ["stale"] * 2
    assert tell(log, events.ended(a_turn(1, "stopped"))) == ["skip"]
    assert log.position == Position(revision=1, turn=1)


# Cursors


@pytest.mark.parametrize("garbage", [None, "", "x", "1-1", "-", "zz-1", "\x00", "a" * 500])
def test_a_cursor_that_proves_nothing_gets_no_events(log: Log, garbage: str | None) -> None:
    tell(log, *journey(1))
    assert log.since(garbage) is None


def test_a_cursor_of_another_epoch_or_of_the_future_gets_no_events(log: Log) -> None:
    other = Log("c", EMPTY)
    tell(log, *journey(1))
    assert log.since(other.cursor) is None
    assert log.since(f"{log.epoch}-{log.number + 1}") is None
    assert log.since(log.cursor) == []


def say(log: Log, turn: Turn, count: int, text: str = "x") -> None:
    [live] = log.moment().turns
    for index in range(live["next_index"], live["next_index"] + count):
        assert tell(log, events.delta(turn, index, text)) == ["take"]


def test_a_cursor_older_than_the_log_gets_no_events(log: Log) -> None:
    start = log.cursor
    tell(log, *journey(1)[:2])
    say(log, a_turn(1), MAX_EVENTS)
    assert log.since(start) is None
    kept = log.since(f"{log.epoch}-{log.number - MAX_EVENTS}")
    assert kept is not None
    assert len(kept) == MAX_EVENTS


def test_a_log_keeps_no_more_events_than_it_is_told_to() -> None:
    log = Log("c", EMPTY, most_events=10)
    tell(log, *journey(1)[:2])
    say(log, a_turn(1), 20)
    assert log.since(f"{log.epoch}-{log.number - 10}") is not None
    assert log.since(f"{log.epoch}-{log.number - 11}") is None


def test_a_log_keeps_no_more_text_than_it_may(log: Log) -> None:
    start = log.cursor
    tell(log, *journey(1)[:2])
    say(log, a_turn(1), 30, "x" * (MAX_BYTES // 20))
    assert log.size <= MAX_BYTES
    assert log.since(start) is None
    assert len(log.since(f"{log.epoch}-{log.number - 15}") or []) == 15


def test_a_log_that_forks_keeps_its_earlier_cursors_good(log: Log) -> None:
    tell(log, *journey(1)[:2])
    before = log.cursor
    say(log, a_turn(1), 2)
    at_the_fork = log.cursor
    log.fork("4711")
    assert log.cursor == f"4711-{log.number}"
    assert log.since(at_the_fork) == []
    say(log, a_turn(1), 1)
    assert [entry.number for entry in log.since(before) or []] == [3, 4, 5]
    assert [entry.payload["cursor"] for entry in log.since(at_the_fork) or []] == ["4711-5"]


def test_a_cursor_that_the_other_log_gave_after_a_fork_gets_no_events(log: Log) -> None:
    tell(log, *journey(1)[:2])
    epoch = log.epoch
    log.fork("4711")
    say(log, a_turn(1), 2)
    assert log.number_of(f"{epoch}-2") == 2
    assert log.since(f"{epoch}-3") is None
    assert log.since("4711-4") == []


# Following another log


def test_a_log_that_follows_another_knows_what_that_one_knows(log: Log) -> None:
    follower = Log("c", log.checkpoint(), epoch=log.epoch, number=log.number)
    turn = a_turn(3, "queued", place=1, revision=1, rewrites=True)
    edited = [put_aside(2), events.removed(turn, ended(1), answers=0), events.created(turn)]
    for event in [*journey(1), *created(2), *journey(2)[1:-1], *edited]:
        verdict, entry = log.append(event)
        assert (verdict, entry is not None) == ("take", True)
        heard = follower.hear(log.number, event.name, event.rule, event.fields)
        assert heard == entry
    assert follower.moment().turns == log.moment().turns
    assert (follower.n, follower.position) == (log.n, log.position)


def test_an_event_of_a_kind_that_nobody_here_knows_is_passed_on(log: Log) -> None:
    tell(log, *journey(1)[:2])
    before = Log("c", log.checkpoint())
    entry = log.hear(3, "turn:thought", ("thought", 1, "turn-1", 1, {"new": []}), {"so": "?"})
    payload = {"conversation_id": "c", "cursor": f"{log.epoch}-3", "so": "?"}
    assert entry == Entry(3, "turn:thought", payload)
    assert log.since(f"{log.epoch}-2") == [entry]
    assert log.tells_the_same_as(before)


# Uses of tools

LOOKS = ToolUse(id="u1", name="look", status="started", input={"for": "it"})
FOUND = msgspec.structs.replace(LOOKS, status="finished", output="x" * 5_000)
PAYS = ToolUse(id="u2", name="pay", status="started", input={"note": "n" * 5_000})


def test_a_use_of_a_tool_is_told_once_in_its_order_and_never_of_another_attempt(log: Log) -> None:
    tell(log, *journey(1)[:3])  # asked, started, a delta
    first, late = a_turn(1), a_turn(1, attempt=2)
    assert tell(log, events.tool(first, 1, FOUND)) == ["lost"]
    assert tell(log, *[events.tool(first, 0, LOOKS)] * 2) == ["take", "skip"]
    assert tell(log, events.delta(first, 1, "w"), events.tool(first, 1, FOUND)) == ["take"] * 2
    assert tell(log, events.tool(late, 0, LOOKS)) == ["lost"]
    assert tell(log, events.started(late), events.tool(first, 2, PAYS)) == ["take", "stale"]
    assert tell(log, events.tool(late, 0, PAYS)) == ["take"]
    assert tell(log, events.tool(a_turn(2), 0, LOOKS)) == ["behind"]


def test_a_moment_has_each_use_of_the_running_attempt_as_it_was_told_last(log: Log) -> None:
    tell(log, *journey(1)[:2])
    for index, use in enumerate((LOOKS, PAYS, FOUND)):
        tell(log, events.tool(a_turn(1), index, use))
    [running] = log.moment().turns
    assert running["tools"] == [
        {"id": "u1", "name": "look", "status": "finished", "input": {"for": "it"}}
        | {"output": "x" * 4_000},
        {"id": "u2", "name": "pay", "status": "started"},  # its input is too long to be shown
    ]
    again = Log("c", log.checkpoint())
    assert again.moment().turns == log.moment().turns
    assert tell(again, events.tool(a_turn(1), 2, FOUND)) == ["skip"]
    tell(log, events.started(a_turn(1, attempt=2)))
    assert log.moment().turns[0]["tools"] == []


def test_what_no_json_can_carry_is_shown_without_it(log: Log) -> None:
    tell(log, *journey(1)[:2])
    odd = ToolUse(id="u\ud800", name="n", status="failed", input={"n": 2**70}, output="\udfff!")
    assert tell(log, events.tool(a_turn(1), 0, odd)) == ["take"]
    assert log.moment().turns[0]["tools"] == [
        {"id": "u?", "name": "n", "status": "failed", "output": "?!"}
    ]


# Moments and checkpoints


def test_a_moment_leaves_out_what_follows_as_an_event(log: Log) -> None:
    tell(log, *journey(1), *journey(2)[:2])
    moment = log.moment()
    assert (moment.cursor, moment.number) == (log.cursor, log.number)
    assert moment.position == Position(turn=2, answers=1)
    assert moment.holds(question_of(a_turn(2)))
    second_answer = answer_of(a_turn(2, "completed"))
    assert second_answer is not None
    assert not moment.holds(second_answer)
    assert not moment.holds(question_of(a_turn(3, "queued")))
    first_answer = answer_of(a_turn(1, "completed"))
    assert first_answer is not None
    assert moment.holds(first_answer)


def test_a_moment_stays_as_it_was(log: Log) -> None:
    tell(log, *journey(1)[:3])
    moment = log.moment()
    tell(log, *journey(1)[3:], *created(2))
    assert [turn["text"] for turn in moment.turns] == ["ans"]
    assert (moment.number, moment.position) == (3, Position(turn=1))


def test_a_log_begins_with_the_open_turns_of_its_checkpoint() -> None:
    running = LiveTurn("turn-2", 2, 2, "running", 1, ["half an", " answer"], 2)
    log = Log("c", Checkpoint(2, Position(turn=2, answers=1), [running]))
    assert log.moment().turns == [
        {
            "id": "turn-2",
            "status": "running",
            "attempt": 1,
            "text": "half an answer",
            "next_index": 2,
            "tools": [],
        }
    ]
    # The third came in while the checkpoint was read: it is announced like any other.
    assert tell(log, *created(3), events.delta(a_turn(2), 2, "!")) == ["take"] * 2


def test_what_a_log_began_after_is_no_news_to_it() -> None:
    log = Log("c", Checkpoint(2, Position(turn=2, answers=2), []))
    assert log.moment().turns == []
    assert tell(log, *created(1, 2), *journey(2)[-1:]) == ["skip"] * 3
    assert log.position == Position(turn=2, answers=2)


@pytest.mark.parametrize(
    ("stored", "differs"),
    [
        (a_turn(1), False),
        (a_turn(1, attempt=2), True),
        (a_turn(1, "queued"), True),
        (a_turn(1, "completed"), False),  # whoever concludes it will tell
        (None, True),
    ],
)
def test_a_turn_that_is_shown_differs_from_what_the_store_says_otherwise(
    stored: Turn | None, differs: bool
) -> None:
    assert LiveTurn("turn-1", 1, 1, "running", 1).differs(stored) is differs
