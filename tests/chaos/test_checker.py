"""The checker can fail: each wrong is named, and a right run is not accused."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import Evidence
from tests.chaos.made_up import Story, kinds


@pytest.fixture
def evidence() -> Evidence:
    """Three questions, sent one after the other, each answered, and one reader of it all."""
    return Story().ask("first").ask("second").ask("third").evidence()


def without(evidence: Evidence, n: int) -> None:
    """As if the n-th turn had never been kept, everywhere."""
    kept = evidence.kept[0]
    kept.turns = [each for each in kept.turns if each.n != n]
    kept.history, kept.remembered = deepcopy(kept.messages), deepcopy(kept.messages)


def test_a_flawless_run_is_not_accused(evidence: Evidence) -> None:
    assert check(evidence) == []


def test_a_lost_message_is_named(evidence: Evidence) -> None:
    without(evidence, 3)
    assert "lost message" in kinds(evidence)


def test_a_message_lost_in_the_middle_leaves_a_gap(evidence: Evidence) -> None:
    without(evidence, 2)
    assert {"lost message", "gap in turns"} <= kinds(evidence)


def test_a_message_kept_twice_is_named(evidence: Evidence) -> None:
    again = deepcopy(evidence.kept[0].turns[0])
    again.id, again.n, again.question["seq"] = "turn 4", 4, 7
    evidence.kept[0].turns.append(again)
    assert "doubled message" in kinds(evidence)


def test_messages_in_another_order_than_acknowledged_are_named(evidence: Evidence) -> None:
    first, second = evidence.sends[:2]
    first.sent, second.sent = second.sent, first.sent
    first.acknowledged, second.acknowledged = second.acknowledged, first.acknowledged
    assert kinds(evidence) == {"out of order"}


def test_messages_of_one_connection_in_another_order_than_sent_are_named(
    evidence: Evidence,
) -> None:
    first, second = evidence.sends[:2]
    first.sent, second.sent = 1, 0
    first.acknowledged, second.acknowledged = 2, 3
    assert kinds(evidence) == {"out of order"}
    first.tries = 2  # then nobody can know which came first
    assert kinds(evidence) == set()


def test_a_message_that_moved_after_its_acknowledgement_is_named(evidence: Evidence) -> None:
    evidence.sends[2].answer["message"]["seq"] = 7
    assert kinds(evidence) == {"out of order"}


def test_a_send_that_was_never_acknowledged_is_named(evidence: Evidence) -> None:
    evidence.sends[2].acknowledged = None
    assert kinds(evidence) == {"unanswered send"}


def test_a_second_answer_in_the_store_is_named(evidence: Evidence) -> None:
    answers = [each.answer for each in evidence.kept[0].turns]
    assert answers[0] is not None
    assert answers[1] is not None
    answers[1]["id"] = answers[0]["id"]
    assert "second answer" in kinds(evidence)


def test_an_answer_that_stop_said_was_stopped_is_named(evidence: Evidence) -> None:
    evidence.stops.append({"id": "turn 1", "status": "completed"})
    assert kinds(evidence) == set()
    evidence.stops.append({"id": "turn 1", "status": "stopped"})
    assert kinds(evidence) == {"second outcome"}


@pytest.mark.parametrize(("status", "is_open"), [("running", True), ("completed", True)])
def test_a_turn_left_open_is_named(evidence: Evidence, status: str, is_open: bool) -> None:
    evidence.kept[0].turns[2].status, evidence.kept[0].turns[2].open = status, is_open
    assert "no outcome" in kinds(evidence)


def test_a_failure_that_is_the_servers_own_is_named(evidence: Evidence) -> None:
    kept = evidence.kept[0].turns[2]
    kept.status, kept.error = "failed", "unavailable"
    assert "wrong failure" not in kinds(evidence)
    kept.error = "internal"
    assert "wrong failure" in kinds(evidence)


def test_an_answer_cut_short_is_named(evidence: Evidence) -> None:
    answer = evidence.kept[0].turns[2].answer
    assert answer is not None
    answer["content"] = "№1: to thi"
    assert "wrong answer" in kinds(evidence)


def test_the_same_words_twice_in_a_prompt_are_named(evidence: Evidence) -> None:
    evidence.prompts[2].insert(1, evidence.prompts[2][1])
    assert "doubled in prompt" in kinds(evidence)


def test_a_later_message_in_a_prompt_is_named(evidence: Evidence) -> None:
    evidence.prompts[1].insert(1, {"role": "user", "content": "third"})
    assert "untimely in prompt" in kinds(evidence)


def test_a_prompt_without_what_was_said_is_named(evidence: Evidence) -> None:
    del evidence.prompts[2][1:3]
    assert kinds(evidence) == {"forgotten"}


def test_a_question_asked_more_often_than_attempted_is_named(evidence: Evidence) -> None:
    evidence.prompts.append(evidence.prompts[2])
    assert kinds(evidence) == {"asked twice"}
    evidence.kept[0].turns[2].attempt = 2
    assert kinds(evidence) == set()


def test_a_memory_that_lags_is_named(evidence: Evidence) -> None:
    evidence.kept[0].remembered.pop()
    assert kinds(evidence) == {"memory differs"}


@pytest.mark.parametrize("counted", [2, None])
def test_a_wrong_turn_counter_is_named(evidence: Evidence, counted: int | None) -> None:
    evidence.kept[0].counted = counted
    assert kinds(evidence) == {"memory differs"}


def test_a_history_that_differs_is_named(evidence: Evidence) -> None:
    evidence.kept[0].history[0]["content"] = "else"
    assert kinds(evidence) == {"history differs"}


def test_a_wrong_message_count_is_named(evidence: Evidence) -> None:
    evidence.kept[0].count = 5
    assert kinds(evidence) == {"wrong count"}


def test_a_key_without_a_ttl_is_named(evidence: Evidence) -> None:
    evidence.immortal = ["conversation:messages:c"]
    assert kinds(evidence) == {"immortal key"}


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "Task exception was never retrieved",
        "RuntimeWarning: coroutine 'x' was never awaited",
    ],
)
def test_what_a_log_must_not_say_is_named(evidence: Evidence, line: str) -> None:
    evidence.logs = {"server 1": f"A turn ended.\n{line}\n"}
    assert kinds(evidence) == {"log"}


def test_what_went_wrong_on_the_way_is_passed_on(evidence: Evidence) -> None:
    evidence.mishaps = ["bad end: server 1 ended with 1"]
    assert kinds(evidence) == {"bad end"}
