"""A store that is away while messages are acknowledged: what is wrong then is named as well.

Today's server says none of this, so the evidence alone tests it.
"""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import OPENED, SETTLED, Evidence, Seen, Shape
from tests.chaos.made_up import CONVERSATION, Story, kinds, place_of
from tests.chaos.spooling import is_one_answer


@pytest.fixture
def evidence() -> Evidence:
    """The second and third of four questions are spooled, answered, and stored before the last."""
    story = Story().ask("first").lose_the_store().ask("second").ask("third")
    return story.find_the_store().ask("last").evidence()


def snapshot(evidence: Evidence, before: int, messages: list[Shape], cursor: str) -> None:
    seen = evidence.readers["reader"]
    shown = {"recovery": "snapshot", "messages": deepcopy(messages), "turns": []}
    opened = {"conversation_id": CONVERSATION, "cursor": cursor, **shown}
    seen.insert(before, Seen(1, OPENED, opened))


def unnumbered(message: Shape) -> Shape:
    return {**message, "seq": None}


def test_a_flawless_run_with_an_outage_is_not_accused(evidence: Evidence) -> None:
    assert [send.is_spooled for send in evidence.sends] == [False, True, True, False]
    assert [seen.name for seen in evidence.readers["reader"]].count("message:stored") == 4
    assert check(evidence) == []


# What is kept


def test_a_spooled_message_that_is_not_stored_is_named(evidence: Evidence) -> None:
    kept = evidence.kept[0]
    kept.turns = [turn for turn in kept.turns if turn.n != 3]
    assert "lost message" in kinds(evidence)


def test_a_spooled_message_that_is_stored_twice_is_named(evidence: Evidence) -> None:
    again = deepcopy(evidence.kept[0].turns[1])
    again.id, again.n, again.place, again.question["seq"] = "turn 5", 5, 5, 9
    evidence.kept[0].turns.append(again)
    assert "doubled message" in kinds(evidence)


@pytest.mark.parametrize("where", ["history", "remembered"])
def test_a_message_without_a_number_in_the_end_is_named(evidence: Evidence, where: str) -> None:
    getattr(evidence.kept[0], where)[-1]["seq"] = None
    assert "no number" in kinds(evidence)


def test_a_message_without_a_number_in_redis_in_the_end_is_named(evidence: Evidence) -> None:
    messages = evidence.kept[0].hot.messages
    assert messages is not None
    messages[-1]["seq"] = None
    assert kinds(evidence) == {"no number", "Redis differs"}


def test_spooled_messages_of_a_tab_in_another_order_are_named(evidence: Evidence) -> None:
    first, second = evidence.sends[1:3]
    first.sent, first.acknowledged, second.sent, second.acknowledged = 6, 7, 4, 5
    first.connection = 2  # it has moved to another server meanwhile
    assert kinds(evidence) == {"out of order"}


def test_another_tab_may_overtake_what_is_spooled_and_not_what_is_stored(
    evidence: Evidence,
) -> None:
    first, second = evidence.sends[1:3]
    first.sent, first.acknowledged, second.sent, second.acknowledged = 6, 7, 4, 5
    first.connection, first.tab = 2, "another"
    assert check(evidence) == []
    second.answer["durability"] = "permanent"
    second.answer["message"]["seq"] = 5
    assert kinds(evidence) == {"out of order"}


# What calls were answered


@pytest.mark.parametrize(
    ("durability", "seq"), [("spooled", 3), ("permanent", None), ("spooled", 7)]
)
def test_a_durability_that_its_number_contradicts_is_named(
    evidence: Evidence, durability: str, seq: int | None
) -> None:
    answer = evidence.sends[1].answer
    answer["durability"], answer["message"]["seq"] = durability, seq
    assert "wrong durability" in kinds(evidence)


def test_a_repeated_call_may_say_otherwise_whether_it_is_stored_and_nothing_else() -> None:
    message = {"id": "m", "seq": None, "content": "text"}
    first = {"durability": "spooled", "message": message, "turn": {"id": "t"}}
    stored = {**first, "durability": "permanent", "message": {**message, "seq": 3}}
    assert is_one_answer(first, first)
    assert is_one_answer(first, stored)
    assert is_one_answer(stored, first)  # the server it was sent to did not hear that it is
    assert not is_one_answer(first, {**stored, "turn": {"id": "another"}})
    assert not is_one_answer(first, {**stored, "message": {**message, "content": "else"}})
    assert not is_one_answer(stored, {**stored, "message": {**message, "seq": 5}})


# What readers were told


def test_a_number_that_is_never_told_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    place = place_of(seen, "message:stored", 2)
    told = seen[place].payload
    seen[place] = seen[place]._replace(name="turn:tool")
    assert told["seq"] == 4
    assert kinds(evidence) == {"no number", "wrong view live", "wrong view in the end"}


def test_the_last_number_missing_is_named() -> None:
    evidence = Story().ask("first").lose_the_store().ask("last").find_the_store().evidence()
    seen = evidence.readers["reader"]
    place = place_of(seen, "message:stored", 2)
    seen[place] = seen[place]._replace(name="turn:tool")
    assert kinds(evidence) == {"no number", "wrong view live", "wrong view in the end"}


def test_a_number_that_a_later_snapshot_tells_is_not_missed(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    messages = evidence.kept[0].messages
    place = place_of(seen, "message:stored")
    del seen[place : place + 4]
    for each in seen[place:]:
        if "cursor" in each.payload:
            epoch, _, number = each.payload["cursor"].partition("-")
            each.payload["cursor"] = f"f{epoch}-{int(number) - 4}"
    snapshot(evidence, place, messages[:6], "fe-15")
    assert check(evidence) == []


def test_a_snapshot_may_know_a_number_before_the_feed_tells_it(evidence: Evidence) -> None:
    place = place_of(evidence.readers["reader"], "message:stored")
    snapshot(evidence, place, evidence.kept[0].messages[:6], "e-15")
    assert check(evidence) == []


def test_a_snapshot_with_unnumbered_messages_last_is_not_accused(evidence: Evidence) -> None:
    messages = evidence.kept[0].messages
    place = place_of(evidence.readers["reader"], "message:stored")
    shown = [*messages[:2], *map(unnumbered, messages[2:6])]
    snapshot(evidence, place, shown, "e-15")
    assert check(evidence) == []


@pytest.mark.parametrize("at", [0, 1])
def test_an_unnumbered_message_before_a_numbered_one_is_named(evidence: Evidence, at: int) -> None:
    messages = evidence.kept[0].messages
    place = place_of(evidence.readers["reader"], "message:stored")
    shown = messages[:2]
    shown[at:at] = map(unnumbered, messages[2:6])
    snapshot(evidence, place, shown, "e-15")
    assert kinds(evidence) == {"bad snapshot"}


def test_a_snapshot_that_lacks_what_is_not_stored_yet_is_named_in_one_log_only(
    evidence: Evidence,
) -> None:
    messages = evidence.kept[0].messages
    place = place_of(evidence.readers["reader"], "message:stored")
    snapshot(evidence, place, messages[:2], "e-15")
    assert "forgetful snapshot" in kinds(evidence)
    other = deepcopy(evidence.readers["reader"])[: place + 1]
    other[place].payload["cursor"] = "g-3"  # of a server that does not know of it
    evidence.readers["reader"][place:] = []
    evidence.readers["other"] = other
    assert "forgetful snapshot" not in kinds(evidence)


def test_what_is_not_stored_yet_shown_otherwise_is_named(evidence: Evidence) -> None:
    messages = evidence.kept[0].messages
    place = place_of(evidence.readers["reader"], "message:stored")
    shown = [*messages[:2], *map(unnumbered, messages[2:6])]
    shown[3] = {**shown[3], "content": "else"}
    snapshot(evidence, place, shown, "e-15")
    assert "second answer" in kinds(evidence)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"message_id": "another"}, "stray number"),
        ({"seq": 9}, "told is not kept"),
        ({"seq": 2}, "doubled message"),
    ],
)
def test_a_wrong_number_is_named(evidence: Evidence, change: Shape, kind: str) -> None:
    seen = evidence.readers["reader"]
    seen[place_of(seen, "message:stored")].payload.update(change)
    assert kind in kinds(evidence)


def test_a_spooled_message_that_is_told_twice_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    place = place_of(seen, "message:created", 2)
    again = deepcopy(seen[place])
    again.payload["cursor"] = "e-6"
    seen.insert(place + 1, again)
    assert "doubled message" in kinds(evidence)


def test_a_spooled_message_under_another_number_than_it_has_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    ended = seen[place_of(seen, "turn:completed", 2)]
    ended.payload["message"] = {**ended.payload["message"], "content": "else"}
    assert "told is not kept" in kinds(evidence)


def test_a_question_told_with_its_number_may_stand_after_one_that_has_none_yet() -> None:
    """Another server has stored the first, and told so after the second was accepted here."""
    story = Story().ask("first").lose_the_store().ask("second")
    evidence = story.evidence()
    story.find_the_store().ask("third")
    seen = story.feed.seen
    stored = [place_of(seen, "message:stored", times) for times in (1, 2)]
    told = [seen[place] for place in stored]
    del seen[stored[0] : stored[1] + 1]
    seen += told
    for number, each in enumerate(seen):
        each.payload["cursor"] = f"e-{number}"
    evidence = story.evidence()
    assert check(evidence) == []
    created = seen[place_of(seen, "message:created", 3)]
    created.payload["message"] = {**created.payload["message"], "seq": 7}
    assert "out of order" in kinds(story.evidence())


# Prompts


def test_a_prompt_of_what_is_spooled_may_lack_what_memory_has_lost(evidence: Evidence) -> None:
    prompt = evidence.prompts[2]
    del prompt[1:3]
    assert check(evidence) == []
    prompt[1:1] = evidence.prompts[3][5:7]
    assert {"doubled in prompt", "wrong prompt"} <= kinds(evidence)


def test_no_number_at_the_settling_is_named(evidence: Evidence) -> None:
    seen = evidence.readers["reader"]
    end = place_of(seen, SETTLED)
    messages = evidence.kept[0].messages
    snapshot(evidence, end, [*messages[:6], *map(unnumbered, messages[6:])], "h-0")
    assert "no number" in kinds(evidence)


@pytest.mark.parametrize("anew", [True, False])
def test_a_spooled_question_may_have_been_answered_anew_when_it_is_shown_again(anew: bool) -> None:
    """To a reader who was away since it was told without a number."""
    story = Story().ask("first").lose_the_store().ask("second").find_the_store()
    evidence = story.regenerate(2).evidence()
    seen = evidence.readers["reader"]
    stored, end = place_of(seen, "message:stored"), place_of(seen, SETTLED)
    del seen[stored:end]
    shown = deepcopy(evidence.kept[0].messages)
    if not anew:
        shown[2]["content"] = "another question"
    snapshot(evidence, stored, shown, "f-0")
    assert ("second answer" in kinds(evidence)) is not anew
    assert not (anew and kinds(evidence))
