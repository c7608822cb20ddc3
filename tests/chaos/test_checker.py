"""The checker can fail: each wrong is named, and a right run is not accused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import END, OPENED, SETTLED, Evidence, Kept, KeptTurn, Seen, Send, Shape

CONVERSATION = "c"
QUESTIONS = ("first", "second", "third")


def answer_to(question: str) -> str:
    return f"to {question}"


def message(seq: int, role: str, content: str) -> Shape:
    turn_id = f"turn {(seq + 1) // 2}"
    shape = {"id": f"{role} {seq}", "conversation_id": CONVERSATION, "seq": seq, "role": role}
    return {**shape, "content": content, "status": "complete", "turn_id": turn_id}


def turn(n: int) -> KeptTurn:
    question = message(2 * n - 1, "user", QUESTIONS[n - 1])
    answer = message(2 * n, "assistant", answer_to(QUESTIONS[n - 1]))
    return KeptTurn(f"turn {n}", n, "completed", False, 1, question, answer)


class Feed:
    """Numbers the events of one feed."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.number = 0

    def opened(self) -> None:
        snapshot = {"recovery": "snapshot", "messages": [], "turns": []}
        self._add(OPENED, cursor="e-0", **snapshot)

    def event(self, name: str, **fields: Any) -> None:
        self.number += 1
        self._add(name, cursor=f"e-{self.number}", **fields)

    def turn(self, kept: KeptTurn) -> None:
        assert kept.answer is not None
        of_turn = {"turn_id": kept.id}
        self.event("message:created", message=kept.question)
        self.event("turn:started", **of_turn, attempt=1, message_id=kept.question["id"])
        for index, text in enumerate(("to ", kept.question["content"])):
            self.event("turn:delta", **of_turn, attempt=1, index=index, text=text)
        self.event("turn:completed", **of_turn, message=kept.answer)

    def _add(self, name: str, **payload: Any) -> None:
        self.seen.append(Seen(1, name, {"conversation_id": CONVERSATION, **payload}))


@pytest.fixture
def evidence() -> Evidence:
    """Three questions, sent one after the other, each answered, and one reader of it all."""
    turns = [turn(n) for n in (1, 2, 3)]
    feed = Feed()
    feed.opened()
    for each in turns:
        feed.turn(each)
    feed.seen += [Seen(1, SETTLED, {}), Seen(1, END, {})]
    kept = Kept(CONVERSATION, turns, count=6, history=[], remembered=[], counted=3)
    kept.history, kept.remembered = deepcopy(kept.messages), deepcopy(kept.messages)
    evidence = Evidence(answer_to, kept=[kept], readers={"reader": feed.seen})
    for place, each in enumerate(turns):
        answer = {
            "conversation_id": CONVERSATION,
            "message": each.question,
            "turn": {"id": each.id},
        }
        content = each.question["content"]
        send = Send(each.question["id"], content, 2 * place, 1, 2 * place + 1, 1, deepcopy(answer))
        evidence.sends.append(send)
        earlier = [
            {"role": shape["role"], "content": shape["content"]}
            for shape in kept.messages[: 2 * place]
        ]
        system = {"role": "system", "content": "You are a helpful assistant."}
        evidence.prompts.append([system, *earlier, {"role": "user", "content": content}])
    return evidence


def kinds(evidence: Evidence, *, events_cross_servers: bool = True) -> set[str]:
    findings = check(evidence, events_cross_servers=events_cross_servers)
    return {finding.partition(":")[0] for finding in findings}


def place_of(seen: list[Seen], name: str, times: int = 1) -> int:
    return [place for place, each in enumerate(seen) if each.name == name][times - 1]


def without(evidence: Evidence, n: int) -> None:
    """As if the n-th turn had never been kept, everywhere."""
    kept = evidence.kept[0]
    kept.turns = [each for each in kept.turns if each.n != n]
    kept.history, kept.remembered = deepcopy(kept.messages), deepcopy(kept.messages)


def test_a_flawless_run_is_not_accused(evidence: Evidence) -> None:
    assert check(evidence, events_cross_servers=True) == []


def test_a_lost_message_is_named(evidence: Evidence) -> None:
    without(evidence, 3)
    assert "lost message" in kinds(evidence)


def test_a_message_lost_in_the_middle_leaves_a_gap(evidence: Evidence) -> None:
    without(evidence, 2)
    assert {"lost message", "gap in seq"} <= kinds(evidence)


def test_a_message_kept_twice_is_named(evidence: Evidence) -> None:
    again = deepcopy(evidence.kept[0].turns[0])
    again.id, again.n, again.question["seq"] = "turn 4", 4, 7
    evidence.kept[0].turns.append(again)
    assert "doubled message" in kinds(evidence)


def test_a_message_told_twice_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    created = seen[place_of(seen, "message:created", 3)]
    end = len(seen) - 2
    seen.insert(end, created._replace(payload={**created.payload, "cursor": "e-16"}))
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
    answers[1]["seq"] = answers[0]["seq"]
    assert "second answer" in kinds(evidence)


def test_a_second_answer_to_a_reader_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    ended = seen[place_of(seen, "turn:completed", 3)]
    again = {**ended.payload, "cursor": "e-16"}
    seen.insert(len(seen) - 2, ended._replace(payload=again))
    assert kinds(evidence) == {"second answer"}


def test_another_answer_to_another_reader_is_named(evidence: Evidence) -> None:
    other = deepcopy(evidence.readers["reader"])
    other[place_of(other, "turn:completed")].payload["message"]["content"] = "else"
    evidence.readers["other"] = other
    assert {"second answer", "told is not kept", "deltas are not the answer"} <= kinds(evidence)


def test_an_answer_that_stop_said_was_stopped_is_named(evidence: Evidence) -> None:
    evidence.stops.append({"id": "turn 1", "status": "completed"})
    assert kinds(evidence) == set()
    evidence.stops.append({"id": "turn 1", "status": "stopped"})
    assert kinds(evidence) == {"second outcome"}


@pytest.mark.parametrize(("status", "is_open"), [("running", True), ("completed", True)])
def test_a_turn_left_open_is_named(evidence: Evidence, status: str, is_open: bool) -> None:
    evidence.kept[0].turns[2].status, evidence.kept[0].turns[2].open = status, is_open
    assert "no outcome" in kinds(evidence)


def test_an_answer_cut_short_is_named(evidence: Evidence) -> None:
    answer = evidence.kept[0].turns[2].answer
    assert answer is not None
    answer["content"] = "to thi"
    assert "wrong answer" in kinds(evidence)


def test_a_gap_in_deltas_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "turn:delta", 2)].payload["index"] = 2
    assert kinds(evidence) == {"gap in deltas"}


def test_a_delta_left_out_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    del seen[place_of(seen, "turn:delta", 2)]
    assert kinds(evidence) == {"gap in the feed", "deltas are not the answer"}


def test_a_delta_of_an_ended_attempt_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "turn:delta", 2)].payload["attempt"] = 2
    assert "stale delta" in kinds(evidence)


def test_cursors_that_go_back_are_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[2], seen[3] = seen[3], seen[2]
    assert {"gap in the feed", "cursor backwards"} <= kinds(evidence)


def test_another_epoch_without_a_snapshot_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    last = seen[place_of(seen, "turn:completed", 3)]
    last.payload["cursor"] = "f-1"
    assert kinds(evidence) == {"new epoch without a snapshot"}


def test_two_events_of_one_cursor_are_named(evidence: Evidence) -> None:
    other = deepcopy(evidence.readers["reader"])
    started = other[place_of(other, "turn:started")]
    started.payload["attempt"] = 2
    evidence.readers["other"] = other
    assert "one cursor, two events" in kinds(evidence)


def test_a_reader_that_was_not_told_everything_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    del seen[place_of(seen, "message:created", 3) : place_of(seen, SETTLED)]
    assert kinds(evidence) == {"wrong view live", "wrong view in the end"}


def test_live_events_of_another_server_are_demanded_only_where_they_cross(
    evidence: Evidence,
) -> None:
    seen = evidence.readers["reader"]
    del seen[place_of(seen, "message:created", 3) : place_of(seen, SETTLED)]
    snapshot = {"recovery": "snapshot", "messages": evidence.kept[0].messages, "turns": []}
    opened = {"conversation_id": CONVERSATION, "cursor": "e-15", **snapshot}
    seen.insert(place_of(seen, END), Seen(1, OPENED, opened))
    assert kinds(evidence, events_cross_servers=False) == set()
    assert kinds(evidence, events_cross_servers=True) == {"wrong view live"}


def test_a_snapshot_that_lacks_what_was_told_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    messages = evidence.kept[0].messages
    for cursor, shown in (("f-0", messages[:5]), ("g-0", messages)):
        snapshot = {"recovery": "snapshot", "messages": shown, "turns": []}
        opened = {"conversation_id": CONVERSATION, "cursor": cursor, **snapshot}
        seen.insert(place_of(seen, SETTLED), Seen(1, OPENED, opened))
    assert kinds(evidence) == {"forgetful snapshot"}


def test_an_event_on_a_new_connection_before_it_was_opened_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    place = place_of(seen, "message:created", 3)
    seen[place:] = [each._replace(connection=2) for each in seen[place:]]
    assert kinds(evidence) == {"event before opening"}


def test_the_same_words_twice_in_a_prompt_are_named(evidence: Evidence) -> None:
    evidence.prompts[2].insert(1, evidence.prompts[2][1])
    assert "doubled in prompt" in kinds(evidence)


def test_a_later_message_in_a_prompt_is_named(evidence: Evidence) -> None:
    evidence.prompts[1].insert(1, {"role": "user", "content": "third"})
    assert "early in prompt" in kinds(evidence)


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
