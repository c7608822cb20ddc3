"""What is remembered of a user goes with all else, but for what was learned since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.facts import Finding, Remembered, Source
from server.erasing import forget_before
from stores.contract import Store
from stores.erasures import Erasure
from tests.stores.conftest import connected
from tests.stores.samples import USER


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as opened:
        yield opened


def learned(known: Remembered, text: str, at: int) -> Remembered:
    source = Source(conversation_id="c", message_id=f"m{at}", seq=1, at=at)
    return known.learned([Finding(kind="add", source=source, text=text)], now=at)


async def test_nothing_is_kept_of_who_was_not_there_since(store: Store) -> None:
    known = learned(Remembered(), "Has a cat.", 5).read_upto("c", 3)
    await store.facts.keep(USER, known, over="")
    await forget_before(store.facts, Erasure(USER, 5))
    assert await store.facts.of(USER) == Remembered()
    await forget_before(store.facts, Erasure(USER, 5))
    assert await store.facts.of(USER) == Remembered()


async def test_what_was_learned_since_stays(store: Store) -> None:
    known = learned(learned(Remembered(), "Has a cat.", 5), "Has two dogs.", 9)
    await store.facts.keep(USER, known, over="")
    await forget_before(store.facts, Erasure(USER, 5))
    left = await store.facts.of(USER)
    assert [fact.text for fact in left.facts] == ["Has two dogs."]
    assert (left.settled, left.progress) == ([], {})
