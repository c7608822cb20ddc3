"""What an embedding model adds, and whom it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from agent.meaning import EmbeddedMeaning
from embedded.search import EmbeddedSearch
from embedded.store import EmbeddedStore
from memory.records import Spot
from stores.search import Vectors
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation, an_exchange
from tests.support.wait import wait_until

SLOW = "slow-user"


class SlowForOne(EmbeddedSearch):
    async def vectors(self, user_id: str, model: str, *, since: int, limit: int) -> list[Vectors]:
        if user_id == SLOW:
            await asyncio.sleep(60)
        return await super().vectors(user_id, model, since=since, limit=limit)


class SlowStore(EmbeddedStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.search = SlowForOne(self._database)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    slow = SlowStore(tmp_path / "store.db")
    async with connected(slow):
        yield slow


async def test_a_user_whose_vectors_take_too_long_holds_up_nobody_else(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.meaning.ASK_SECONDS", 0.5)

    async def nothing() -> None:
        return None

    meaning = EmbeddedMeaning(store.search, DeterministicFakeEmbedding(size=8), "m", nothing)
    here = await a_conversation(store)
    await an_exchange(store, here, 1)
    meaning.turn_ended(here, USER)

    async def near() -> Sequence[Spot]:
        return await meaning.near(USER, "question 1", None)

    await wait_until(near, "there are vectors")
    assert await meaning.near(SLOW, "question 1", None) == []
    assert await near()
    await meaning.close()
