"""What Redis holds and the store does not is named by the checker, whoever reads it or not."""

from __future__ import annotations

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, Hot
from tests.chaos.hot import condition
from tests.chaos.made_up import CONVERSATION, Story, kinds

KEYS = {"messages": "messages", "notes": "summary", "counted": "turns"}
BOTH = pytest.mark.parametrize("look", ["found", "hot"])


@pytest.fixture
def evidence() -> Evidence:
    """Three questions and answers, the second edited: two exchanges stand in the end."""
    return Story().ask("first").ask("second").edit(2, "second again").evidence()


def hot_in(evidence: Evidence, look: str) -> Hot:
    """``found`` before it was read, ``hot`` after."""
    hot: Hot = getattr(evidence.kept[0], look)
    return hot


def named(evidence: Evidence, kind: str) -> str:
    (finding,) = check(evidence)
    assert finding.startswith(f"{kind}: {CONVERSATION}, ")
    return finding


@BOTH
def test_a_conversation_that_is_not_in_redis_is_not_accused(evidence: Evidence, look: str) -> None:
    setattr(evidence.kept[0], look, Hot())
    assert check(evidence) == []


@BOTH
@pytest.mark.parametrize(
    ("field", "wrong"),
    [("id", "another"), ("content", "else"), ("status", "stopped"), ("seq", 6)],
)
def test_another_message_in_redis_is_named_with_both(
    evidence: Evidence, look: str, field: str, wrong: object
) -> None:
    messages = hot_in(evidence, look).messages
    assert messages is not None
    right = messages[3]
    messages[3] = {**right, field: wrong}
    assert f"at 3: {messages[3]} for {right}" in named(evidence, "Redis differs")


@BOTH
def test_messages_in_another_order_are_named(evidence: Evidence, look: str) -> None:
    messages = hot_in(evidence, look).messages
    assert messages is not None
    messages[1], messages[2] = messages[2], messages[1]
    assert "at 1: " in named(evidence, "Redis differs")


@BOTH
def test_a_message_that_redis_lacks_in_the_middle_is_named(evidence: Evidence, look: str) -> None:
    messages = hot_in(evidence, look).messages
    assert messages is not None
    del messages[1]
    named(evidence, "Redis differs")


def test_more_than_the_latest_50_are_named() -> None:
    story = Story()
    for number in range(30):
        story.ask(f"question {number}")
    evidence = story.evidence()
    kept = evidence.kept[0]
    evidence.prompts = []
    kept.remembered = kept.remembered[-50:]
    assert kinds(evidence) == {"Redis differs"}
    for hot in (kept.found, kept.hot):
        assert hot.messages is not None
        hot.messages = hot.messages[-50:]
    assert check(evidence) == []


@BOTH
def test_another_summary_in_redis_is_named_with_both(evidence: Evidence, look: str) -> None:
    assert evidence.kept[0].notes == "first№1"
    hot_in(evidence, look).notes = ""
    assert "the summary '', the store 'first№1'" in named(evidence, "Redis differs")


@BOTH
def test_another_turn_counter_in_redis_is_named_with_both(evidence: Evidence, look: str) -> None:
    hot_in(evidence, look).counted = 3
    assert "3 turns counted, the store 2 answers" in named(evidence, "Redis differs")


@BOTH
@pytest.mark.parametrize("field", KEYS)
def test_one_of_the_three_missing_is_named(evidence: Evidence, look: str, field: str) -> None:
    setattr(hot_in(evidence, look), field, None)
    assert f"lacks ['{KEYS[field]}']" in named(evidence, "partial in Redis")


@BOTH
def test_what_nobody_can_read_is_named(evidence: Evidence, look: str) -> None:
    hot_in(evidence, look).unreadable = "a turn counter that is no number: b'x'"
    assert "b'x'" in named(evidence, "unreadable in Redis")


def test_a_key_that_was_taken_away_may_be_missing_until_somebody_reads(evidence: Evidence) -> None:
    evidence.faults = {"redis key deleted": 1, "redis evicts": 0}
    evidence.kept[0].found.messages = None
    assert check(evidence) == []
    evidence.kept[0].hot.messages = None
    assert kinds(evidence) == {"partial in Redis"}


def test_what_was_turned_back_may_lag_until_somebody_reads(evidence: Evidence) -> None:
    """It lags by the position, so the next reader sees it, and loads it anew."""
    kept = evidence.kept[0]
    assert kept.found.messages is not None
    del kept.found.messages[2:]
    kept.found.counted, kept.found.revision, kept.found.notes = 1, 0, ""
    assert condition(kept) == "lagging"
    assert kinds(evidence) == {"Redis differs"}
    evidence.faults = {"redis turned back": 1}
    assert check(evidence) == []


def test_what_does_not_lag_by_its_position_has_no_excuse(evidence: Evidence) -> None:
    evidence.faults = {"redis turned back": 1, "redis key deleted": 1, "server killed": 1}
    found = evidence.kept[0].found
    assert found.messages is not None
    found.messages[1]["content"] = "else"
    assert condition(evidence.kept[0]) == "hot"
    assert kinds(evidence) == {"Redis differs"}


@BOTH
@pytest.mark.parametrize("fault", ["redis turned back", "server killed", "server drained"])
def test_an_older_summary_may_stay_after_what_leaves_one(
    evidence: Evidence, look: str, fault: str
) -> None:
    hot_in(evidence, look).notes = ""
    evidence.faults = {"redis emptied": 1, fault: 0}
    assert kinds(evidence) == {"Redis differs"}
    evidence.faults[fault] = 1
    assert check(evidence) == []
    hot_in(evidence, look).notes = "first№2"  # not an older one, another one
    assert kinds(evidence) == {"Redis differs"}
