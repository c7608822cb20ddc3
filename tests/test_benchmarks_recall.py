"""The benchmark of what reaches the prompt: its own rules, and its short form with its goal."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from benchmarks.recall.__main__ import BUDGET, GOAL, planted, row
from benchmarks.recall.plain import PlainBM25
from benchmarks.recall.planted import conversation
from embedded.store import EmbeddedStore
from tests.stores.conftest import connected


def test_each_question_needs_the_newest_message_that_says_it() -> None:
    made = conversation(400, 30, seed=7)
    assert len(made.turns) == 400
    assert len(made.questions) == 30
    assert 3 <= sum(each.changed for each in made.questions) <= 20
    for each in made.questions:
        assert each.value in made.turns[each.needed][0]
        assert each.value not in each.text
    assert made == conversation(400, 30, seed=7)
    assert made != conversation(400, 30, seed=8)


def test_plain_bm25_prefers_rare_words_and_short_messages() -> None:
    bm25 = PlainBM25(["the tree", "the walnut tree", "the walnut tree " + "and more " * 20, "the"])
    assert bm25.ranked("the walnut")[:2] == [1, 2]
    assert bm25.ranked("nothing") == []


async def test_what_a_question_needs_is_sent_within_the_budget(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        for size in (150, 1_000):
            found = await planted(store, size, 1, BUDGET, first_seed=20)
            assert found.over_budget == 0
            assert fmean(found.sent) >= GOAL, row("embedded", str(size), found)
            assert fmean(found.window) < 0.5
            # The questions are in other words than what they need.
            assert fmean(found.shared) < 0.6
