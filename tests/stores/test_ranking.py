"""How much of what was found is looked at, and where in it."""

from __future__ import annotations

import time
from random import Random

from memory.records import Answer, Question, Turn
from stores import ranking
from stores.ranking import ranked, thickest
from stores.words import counts_of, places_of, terms_of, wanted_in


def a_turn(place: int, question: str, answer: str) -> Turn:
    return Turn(
        id=f"t{place}",
        conversation_id="c",
        user_id="u",
        n=place,
        place=place,
        question=Question(message_id=f"q{place}", content=question, created_at=place),
        digest="",
        accepted="running",
        status="completed",
        open=False,
        attempt=1,
        answer=Answer(message_id=f"a{place}", content=answer, status="complete", created_at=place),
        answers=place,
        created_at=place,
    )


def test_texts_of_any_length_take_no_more_than_so_much_time() -> None:
    rng = Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz "
    long = "".join(rng.choices(letters, k=500_000))
    turns = [a_turn(place, f"{place} zap " * 20_000, long) for place in range(1, 61)]
    began = time.process_time()
    assert ranked(turns, wanted_in("zap zip zop"), (), {0: 60}, 60)
    # Of 45 MB; it was two minutes.
    assert time.process_time() - began < 5


def test_of_long_texts_the_part_is_looked_at_that_has_what_is_wanted() -> None:
    long = "word " * 200_000
    turns = [a_turn(place, "short", long) for place in range(1, 5)]
    turns.append(a_turn(5, "hello", f"{long}the Lighthouses of Portree. {long}"))
    best = ranked(turns, wanted_in("lighthouse"), (), {0: 1}, 5)
    assert best[0].message.id == "a5"
    text = str(best[0].message.content)
    assert text[best[0].at :].startswith("Lighthouses")


def test_what_is_short_leaves_its_room_to_what_is_long() -> None:
    assert ranking._share([10, 20, 30]) == ranking.MOST_CHARS
    assert ranking._share([10, ranking.MOST_CHARS * 2]) == ranking.MOST_CHARS - 10


def test_the_thickest_place_and_the_counts_are_those_of_a_plain_look() -> None:
    rng = Random(2)
    words = ["sea", "Seas", "studies", "study", "été", "a", "日本語", "running", "x" * 40, "İs"]
    for _ in range(300):
        text = " ".join(rng.choices(words, k=rng.randrange(60)))
        wanted = frozenset(wanted_in(" ".join(rng.choices(words, k=3))).terms)
        places = places_of(text, wanted)
        best, at = 0, 0
        for start, _ in places:
            here = {term for offset, term in places if start <= offset < start + 160}
            if len(here) > best:
                best, at = len(here), start
        assert thickest(text, wanted) == at
        terms = terms_of(text)
        counts, length = counts_of(text, wanted)
        assert (dict(counts), length) == (
            {term: terms.count(term) for term in wanted if term in terms},
            len(terms),
        )
