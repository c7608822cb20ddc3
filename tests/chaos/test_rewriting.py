"""What goes wrong with edits and with answers made anew is named by the checker."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import OPENED, SETTLED, Evidence, Seen, Send, Shape
from tests.chaos.made_up import CONVERSATION, Story, kinds, place_of


@pytest.fixture
def evidence() -> Evidence:
    """The second of three questions is edited, then answered anew, then another one follows:
    six turns, of which the first, the fifth and the sixth stand in the end."""
    story = Story().ask("first").ask("second").ask("third")
    return story.edit(2, "second again").regenerate(2).ask("last").evidence()


def test_a_flawless_run_with_rewriting_is_not_accused(evidence: Evidence) -> None:
    assert check(evidence) == []


# In the store


def test_a_superseded_turn_that_still_stands_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[1].superseded = False
    assert "wrong version" in kinds(evidence)


def test_a_turn_superseded_by_nobody_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[0].superseded = True
    assert "wrong version" in kinds(evidence)


def test_an_old_version_that_is_not_kept_is_named(evidence: Evidence) -> None:
    del evidence.kept[0].turns[1]
    assert {"lost message", "gap in turns"} <= kinds(evidence)


def test_an_old_version_without_an_outcome_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[2].open = True
    assert kinds(evidence) == {"no outcome"}


def test_a_place_that_is_not_used_again_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[5].place = 5
    assert {"wrong place", "gap in seq"} <= kinds(evidence)


def test_an_edit_that_took_another_place_is_named(evidence: Evidence) -> None:
    evidence.sends[3].rewrites = evidence.sends[0].message_id
    assert kinds(evidence) == {"wrong place"}


def test_an_answer_made_anew_to_another_question_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[4].question["id"] = "question 1"
    assert "wrong place" in kinds(evidence)


def test_a_rewriting_that_does_not_raise_the_revision_is_named(evidence: Evidence) -> None:
    evidence.kept[0].turns[4].revision = 1
    evidence.kept[0].turns[5].revision = 1
    assert kinds(evidence) == {"wrong revision"}


def test_one_request_whose_answer_two_turns_have_is_named(evidence: Evidence) -> None:
    turns = evidence.kept[0].turns
    assert turns[3].answer is not None
    assert turns[4].answer is not None
    turns[4].answer["content"] = turns[3].answer["content"]
    assert "second answer" in kinds(evidence)


# What calls were answered


def test_an_acknowledgement_of_another_place_is_named(evidence: Evidence) -> None:
    evidence.sends[3].answer["message"] = {**evidence.sends[3].answer["message"], "seq": 7}
    assert kinds(evidence) == {"out of order"}


def test_an_answer_made_anew_that_was_acknowledged_and_lost_is_named(evidence: Evidence) -> None:
    evidence.sends[4].answer["turn"]["id"] = "another"
    assert kinds(evidence) == {"lost message"}


def refused_edit(rewrites: str) -> Send:
    edit = Send("never", "never", 20, call="message:edit", rewrites=rewrites)
    edit.refused, edit.acknowledged = "not_found", 21
    return edit


def test_an_edit_of_what_was_rewritten_may_be_refused(evidence: Evidence) -> None:
    evidence.sends.append(refused_edit("question 2"))
    assert kinds(evidence) == set()


def test_an_edit_refused_without_a_reason_is_named(evidence: Evidence) -> None:
    evidence.sends.append(refused_edit("question 6"))
    assert kinds(evidence) == {"refused in vain"}


def test_an_edit_refused_before_the_other_one_came_is_named(evidence: Evidence) -> None:
    evidence.sends.append(refused_edit("question 2"))
    evidence.sends[-1].acknowledged = evidence.sends[3].sent - 1
    assert kinds(evidence) == {"refused in vain"}


def test_an_edit_refused_and_done_is_named(evidence: Evidence) -> None:
    edit = evidence.sends[3]
    edit.refused, edit.answer, edit.rewrites = "not_found", {}, "question 2"
    assert "refused and done" in kinds(evidence)


# Readers


def test_a_removal_that_says_too_little_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "message:removed")].payload["message_ids"].pop()
    assert "wrong removal" in kinds(evidence)


def test_a_removal_that_says_too_much_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "message:removed")].payload["message_ids"].insert(0, "answer 1")
    assert "wrong removal" in kinds(evidence)


def test_a_removal_that_was_not_told_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    del seen[place_of(seen, "message:removed")]
    assert {"gap in the feed", "doubled message"} <= kinds(evidence)


def test_a_turn_removed_before_it_ended_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    ended, removed = place_of(seen, "turn:completed", 3), place_of(seen, "message:removed")
    seen[ended], seen[removed] = seen[removed], seen[ended]
    assert {"no outcome told", "second answer"} <= kinds(evidence)


def test_an_answer_made_anew_to_a_question_that_is_not_named_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "turn:started", 5)].payload["message_id"] = "question 1"
    del seen[place_of(seen, SETTLED)]
    assert kinds(evidence) == {"wrong view in the end"}


def snapshot(evidence: Evidence, messages: list[Shape]) -> None:
    """Given to the reader in the end, as another server may."""
    seen = evidence.readers["reader"]
    shown = {"recovery": "snapshot", "messages": deepcopy(messages), "turns": []}
    opened = {"conversation_id": CONVERSATION, "cursor": "f-0", **shown}
    seen.insert(place_of(seen, SETTLED), Seen(1, OPENED, opened))


def test_a_snapshot_with_an_old_version_is_named(evidence: Evidence) -> None:
    turns = evidence.kept[0].turns
    snapshot(evidence, [message for turn in turns[:3] for message in turn.messages])
    assert "second answer" in kinds(evidence)


def test_a_snapshot_of_two_versions_is_named(evidence: Evidence) -> None:
    turns = evidence.kept[0].turns
    snapshot(evidence, [*turns[0].messages, *turns[3].messages, *turns[5].messages])
    assert "mixed snapshot" in kinds(evidence)


def test_a_snapshot_with_the_new_version_is_not_accused(evidence: Evidence) -> None:
    snapshot(evidence, evidence.kept[0].messages)
    assert kinds(evidence) == set()


# Prompts and notes


def test_a_prompt_with_what_was_superseded_is_named(evidence: Evidence) -> None:
    last = evidence.prompts[5]
    last[3:5] = evidence.prompts[2][3:5]
    assert {"untimely in prompt", "wrong prompt"} <= kinds(evidence)


def test_a_prompt_with_an_answer_that_was_made_anew_is_named(evidence: Evidence) -> None:
    assert evidence.prompts[5][4]["content"] == "№2: to second again"
    evidence.prompts[5][4] = {"role": "assistant", "content": "№1: to second again"}
    assert kinds(evidence) == {"wrong prompt"}


def test_a_prompt_of_its_own_old_answer_is_named(evidence: Evidence) -> None:
    old = [evidence.prompts[4][-1], {"role": "assistant", "content": "№1: to second again"}]
    evidence.prompts[4][3:3] = old
    assert "doubled in prompt" in kinds(evidence)


def test_a_question_answered_anew_more_often_than_asked_is_named(evidence: Evidence) -> None:
    evidence.prompts.append(evidence.prompts[4])
    assert kinds(evidence) == {"asked twice"}


@pytest.mark.parametrize("where", ["notes", "remembered_notes"])
def test_notes_on_what_was_superseded_are_named(evidence: Evidence, where: str) -> None:
    kept = evidence.kept[0]
    setattr(kept, where, "first№1 second№1")
    kept.found.notes = kept.hot.notes = kept.notes
    assert kinds(evidence) == {"wrong notes"}


def test_a_prompt_with_notes_on_what_was_superseded_is_named(evidence: Evidence) -> None:
    notes = "<conversation_summary>first№1 second№1</conversation_summary>"
    evidence.prompts[2][0] = {"role": "system", "content": f"Be helpful. {notes}"}
    assert kinds(evidence) == set()
    evidence.prompts[5][0] = evidence.prompts[2][0]
    assert kinds(evidence) == {"wrong notes"}


def test_a_prompt_of_the_version_that_came_meanwhile_is_named_unless_nothing_came_of_it(
    evidence: Evidence,
) -> None:
    """The third question is superseded while it waits, and asked after what replaced the second."""
    evidence.prompts[2][3:5] = evidence.prompts[5][3:5]
    assert "wrong prompt" in kinds(evidence)
    third = evidence.kept[0].turns[2]
    third.status, third.answer = "stopped", None
    evidence.kept[0].history = []
    assert not {"wrong prompt", "untimely in prompt"} & kinds(evidence)
