"""Which turns are current, where what was rewritten is not all marked yet."""

from __future__ import annotations

import random

import pytest

from memory.records import current
from tests.stores.samples import a_turn


@pytest.mark.parametrize(
    ("places", "left"),
    [
        ([], []),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 3, 3], [1, 2, 4]),  # the last one rewritten
        ([1, 2, 3, 1], [4]),  # the first
        ([1, 2, 3, 2, 3, 4], [1, 4, 5, 6]),  # and it goes on from there
        ([1, 2, 3, 2, 3, 3], [1, 4, 6]),  # twice
        ([1, 2, 3, 3, 2], [1, 5]),  # and once more, before the first time
        ([5, 6, 7, 6], [1, 4]),
    ],
)
def test_what_is_rewritten_and_all_after_it_is_not_current(
    places: list[int], left: list[int]
) -> None:
    turns = [a_turn("c1", n, place=place) for n, place in enumerate(places, start=1)]
    assert [turn.n for turn in current(turns)] == left
    random.shuffle(turns)
    assert [turn.n for turn in current([*turns, *turns])] == left
