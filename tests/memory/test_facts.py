"""The rules by which what is remembered of a person changes."""

from __future__ import annotations

from typing import Any

from memory import facts as rules
from memory.facts import Fact, Finding, Remembered, Source, best_first, digest_of, one_line
from memory.records import Question, Turn

HERE, THERE = "conversation-1", "conversation-2"


def said(n: int, conversation_id: str = HERE, **fields: Any) -> Source:
    """The message at place ``n``."""
    name = f"{conversation_id}-{n}"
    given = {"conversation_id": conversation_id, "message_id": name, "seq": 2 * n - 1, "at": n}
    return Source(**{**given, **fields})


def add(text: str, source: Source, confidence: float = 0.5) -> Finding:
    return Finding(kind="add", source=source, text=text, confidence=confidence)


def knowing(*findings: Finding) -> Remembered:
    return Remembered().learned(findings, now=100)


def texts(remembered: Remembered) -> list[str]:
    return sorted(fact.text for fact in remembered.facts)


def only(remembered: Remembered) -> Fact:
    [fact] = remembered.facts
    return fact


def rewriting(place: int, revision: int = 1, message_id: str = "new") -> Turn:
    return Turn(
        id="edit",
        conversation_id=HERE,
        user_id="user",
        n=9,
        place=place,
        revision=revision,
        rewrites=True,
        question=Question(message_id=message_id, content="?", created_at=9),
        digest="",
        accepted="running",
        status="running",
        created_at=9,
    )


def test_the_same_said_again_is_one_fact_more_certain() -> None:
    known = knowing(add("Lives in Bern.", said(1)), add("lives  in BERN", said(2)))
    fact = only(known)
    assert fact.confidence > 0.5
    assert [source.message_id for source in fact.sources] == [f"{HERE}-1", f"{HERE}-2"]
    again = known.learned([add("Lives in Bern", said(2))], now=200)
    assert again.facts == known.facts
    assert again.stamp != known.stamp


def test_what_is_confirmed_gets_the_source_and_what_is_unknown_is_left_out() -> None:
    known = knowing(add("Likes tea", said(1)))
    confirmed = Finding(kind="confirm", source=said(2), fact_id=known.facts[0].id)
    unknown = Finding(kind="confirm", source=said(2), fact_id="gone")
    assert len(only(known.learned([confirmed, unknown], now=200)).sources) == 2


def test_what_is_contradicted_is_superseded() -> None:
    known = knowing(add("Lives in Bern", said(1)))
    moved = Finding(
        kind="replace", source=said(2), fact_id=known.facts[0].id, text="Lives in Basel"
    )
    now = only(known.learned([moved], now=200))
    assert (now.text, now.sources) == ("Lives in Basel", [said(2)])
    assert texts(known.learned([moved, moved], now=200)) == ["Lives in Basel"]


def test_a_correction_of_the_users_stands_whatever_is_found_later() -> None:
    known = knowing(add("Is called Bob", said(1)))
    mine = known.corrected(known.facts[0], "Is called Bo", now=150)
    fact = only(mine)
    assert (fact.text, fact.confidence, fact.edited) == ("Is called Bo", 1.0, True)
    found = [
        Finding(kind="replace", source=said(2), fact_id=fact.id, text="Is called Bobby"),
        Finding(kind="confirm", source=said(3), fact_id=fact.id),
        add("Is called Bob", said(1)),
        add("Goes by Bob", said(1)),
    ]
    later = only(mine.learned(found, now=200))
    assert (later.text, later.confidence, later.updated_at) == ("Is called Bo", 1.0, 150)


def test_two_that_become_the_same_by_a_correction_become_one() -> None:
    known = knowing(add("Likes tea", said(1)), add("Likes tee", said(2)))
    wrong = next(fact for fact in known.facts if fact.text == "Likes tee")
    fact = only(known.corrected(wrong, "likes tea!", now=200))
    assert fact.id == wrong.id
    assert len(fact.sources) == 2


def test_what_was_deleted_comes_back_from_no_earlier_message_and_no_text_of_it_is_kept() -> None:
    known = knowing(add("Likes tea", said(1)))
    without = known.without(known.facts[0], now=200)
    assert without.facts == []
    assert "tea" not in repr(without.settled)
    again = [add("Likes tea", said(1)), add("Drinks tea", said(1)), add("likes tea", said(2))]
    assert without.learned(again, now=300).facts == []
    meant = add("Likes tea", said(9, at=250))
    assert texts(without.learned([meant], now=300)) == ["Likes tea"]


def test_with_a_conversation_goes_what_came_only_from_there() -> None:
    both = add("Lives in Bern", said(1)), add("Lives in Bern", said(1, THERE))
    known = knowing(*both, add("Likes tea", said(2))).read_upto(HERE, 4).read_upto(THERE, 2)
    left = known.without_conversation(HERE)
    assert texts(left) == ["Lives in Bern"]
    assert only(left).sources == [said(1, THERE)]
    assert left.progress == {THERE: 2}
    assert left.without_conversation(THERE).facts == []
    assert left.without_conversation("unknown").stamp != left.stamp


def test_with_an_edit_goes_what_came_only_from_what_it_rewrote() -> None:
    known = knowing(
        add("Lives in Bern", said(1)),
        add("Likes tea", said(2)),
        add("Has a cat", said(3)),
        add("Has a cat", said(1, THERE)),
        add("Has a dog", said(5, THERE)),
        add("Runs", said(2, revision=1)),
    ).read_upto(HERE, 6)
    left = known.without_superseded(rewriting(2))
    assert texts(left) == ["Has a cat", "Has a dog", "Lives in Bern", "Runs"]
    assert left.progress == {HERE: 2}
    again = left.without_superseded(rewriting(2))
    assert (again.facts, again.progress) == (left.facts, left.progress)


def test_what_is_only_answered_again_and_what_the_user_put_right_stays() -> None:
    known = knowing(add("Likes tea", said(2)), add("Is called Bob", said(3)))
    bob = next(fact for fact in known.facts if "Bob" in fact.text)
    mine = known.corrected(bob, "Is called Bo", now=150)
    left = mine.without_superseded(rewriting(2, message_id=f"{HERE}-2"))
    assert texts(left) == ["Is called Bo", "Likes tea"]


def test_of_too_many_the_least_certain_goes_and_never_what_the_user_put_right() -> None:
    known = knowing(add("the first", said(1), confidence=0.1))
    mine = known.corrected(known.facts[0], "mine", now=1)
    many = [add(f"fact number {n}", said(n), confidence=0.2) for n in range(2, 400)]
    full = mine.learned([*many, add("doubtful", said(400), confidence=0.1)], now=200)
    assert len(full.facts) == rules.MAX_FACTS
    assert "mine" in texts(full)
    assert "doubtful" not in texts(full)


def test_sources_progress_and_what_is_settled_are_bounded() -> None:
    known = knowing(*(add("Likes tea", said(n)) for n in range(1, 20)))
    assert [source.at for source in only(known).sources] == [16, 17, 18, 19]
    for n in range(rules.MAX_PROGRESS + 5):
        known = known.read_upto(f"c{n}", n)
    assert len(known.progress) == rules.MAX_PROGRESS
    assert "c0" not in known.progress
    for n in range(rules.MAX_SETTLED + 5):
        known = known.learned([add(f"fact {n}", said(n + 50))], now=n)
        fact = next(each for each in known.facts if each.text == f"fact {n}")
        known = known.without(fact, now=n)
    assert len(known.settled) == rules.MAX_SETTLED


def test_the_most_certain_and_newest_come_first() -> None:
    doubted = knowing(add("a", said(1), 0.2), add("b", said(1), 0.9)).facts
    later = Remembered().learned([add("c", said(1), 0.9)], now=200).facts
    assert [fact.text for fact in best_first([*doubted, *later])] == ["c", "b", "a"]


def test_a_text_is_one_line_and_its_digest_knows_words_only() -> None:
    assert one_line(" a\n\tb\x00c\u202ed ") == "a b c d"
    assert digest_of("Likes TEA!") == digest_of("likes tea") != digest_of("likes teas")
    assert digest_of("!") != digest_of("?")
