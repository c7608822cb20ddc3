"""The mark that all of a user's is being deleted."""

from __future__ import annotations

from stores.contract import Store
from stores.erasures import Erasure


async def test_a_mark_is_there_until_it_is_done(two_stores: tuple[Store, Store]) -> None:
    here, there = two_stores
    assert await here.erasures.of("one") is None
    first, second = Erasure("one", 5), Erasure("$two", 3)
    for erasure in (first, second):
        await here.erasures.begin(erasure)
    assert await there.erasures.of("one") == first
    assert await there.erasures.unfinished(10) == [second, first]
    assert await there.erasures.unfinished(1) == [second]
    await there.erasures.done(second)
    await there.erasures.done(second)
    assert await here.erasures.unfinished(10) == [first]


async def test_a_later_one_takes_an_earlier_ones_place_and_never_the_other_way(
    store: Store,
) -> None:
    for at in (5, 9, 7):
        await store.erasures.begin(Erasure("one", at))
    assert await store.erasures.of("one") == Erasure("one", 9)
    await store.erasures.done(Erasure("one", 5))
    assert await store.erasures.of("one") == Erasure("one", 9)
