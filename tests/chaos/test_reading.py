"""What a reader was told wrongly is named by the checker."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import END, OPENED, SETTLED, Evidence, Seen
from tests.chaos.made_up import CONVERSATION, Story, kinds, place_of


@pytest.fixture
def evidence() -> Evidence:
    """Three questions, sent one after the other, each answered, and one reader of it all."""
    return Story().ask("first").ask("second").ask("third").evidence()


def test_a_message_told_twice_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    created = seen[place_of(seen, "message:created", 3)]
    end = len(seen) - 2
    seen.insert(end, created._replace(payload={**created.payload, "cursor": "e-16"}))
    assert "doubled message" in kinds(evidence)


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


def test_another_epoch_that_begins_elsewhere_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    other = {"recovery": "snapshot", "messages": evidence.kept[0].messages, "turns": []}
    opened = {"conversation_id": CONVERSATION, "cursor": "g-7", **other}
    evidence.readers["other"] = [Seen(1, OPENED, opened)]
    last = seen[place_of(seen, "turn:completed", 3)]
    last.payload["cursor"] = "f-15"
    assert kinds(evidence) == set()  # nobody knows better
    last.payload["cursor"] = "g-8"
    assert kinds(evidence) == {"one cursor, two pictures"}


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


def test_what_is_told_only_when_it_is_opened_anew_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    del seen[place_of(seen, "message:created", 3) : place_of(seen, SETTLED)]
    snapshot = {"recovery": "snapshot", "messages": evidence.kept[0].messages, "turns": []}
    opened = {"conversation_id": CONVERSATION, "cursor": "e-15", **snapshot}
    seen.insert(place_of(seen, END), Seen(1, OPENED, opened))
    assert kinds(evidence) == {"wrong view live"}


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


def test_two_pictures_of_one_moment_are_named(evidence: Evidence) -> None:
    messages = evidence.kept[0].messages
    for name, shown in (("one", messages), ("other", messages[:-1])):
        snapshot = {"recovery": "snapshot", "messages": shown, "turns": []}
        opened = {"conversation_id": CONVERSATION, "cursor": "e-15", **snapshot}
        evidence.readers[name] = [Seen(1, OPENED, opened)]
    (finding,) = check(evidence)
    assert finding.startswith("one cursor, two pictures: other")


def test_another_text_so_far_at_one_moment_is_named(evidence: Evidence) -> None:
    turn = {"id": "turn 3", "status": "running", "attempt": 1, "text": "№1: ", "next_index": 1}
    shown = {"recovery": "snapshot", "messages": evidence.kept[0].messages[:5], "turns": [turn]}
    opened = {"conversation_id": CONVERSATION, "cursor": "e-13", **shown}
    evidence.readers["other"] = [Seen(1, OPENED, opened)]
    assert kinds(evidence) == {"one cursor, two pictures"}
    turn["text"] = "№1: to "
    assert kinds(evidence) == set()


def test_a_cursor_that_is_refused_when_all_is_healed_is_named(evidence: Evidence) -> None:
    """In the end every reader opens everything, and then once more on another server."""
    opened = {"conversation_id": CONVERSATION, "cursor": "e-15", "recovery": "snapshot"}
    opened |= {"messages": evidence.kept[0].messages, "turns": []}
    evidence.readers["reader"].append(Seen(2, OPENED, opened))
    for there in ({}, {CONVERSATION: "f-9"}):
        evidence.shared = there  # Redis has lost it, and perhaps another one has been begun
        assert kinds(evidence) == set()
    evidence.shared = {CONVERSATION: "e-15"}
    assert kinds(evidence) == {"not replayed"}
    opened["recovery"] = "replayed"
    assert kinds(evidence) == set()


def test_a_snapshot_where_nothing_breaks_is_named(evidence: Evidence) -> None:
    snapshot = {"conversation_id": CONVERSATION, "cursor": "f-0", "turns": []}
    snapshot["messages"] = evidence.kept[0].messages
    seen = evidence.readers["reader"]
    seen.insert(place_of(seen, SETTLED), Seen(1, "conversation:snapshot", snapshot))
    assert kinds(evidence) == set()
    evidence.calm = True
    assert kinds(evidence) == {"not replayed"}
