"""Budgets of tokens, on a real store that is counted in, and can be closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from embedded.store import EmbeddedStore
from memory.records import Turn
from server.clock import now_ms
from server.errors import RateLimited
from server.turns import budgets
from server.turns.budgets import Budgets, today
from stores.usage import DAY_MS, Days
from tests.stores.samples import (
    USER,
    a_conversation,
    a_turn,
    an_answer,
    inserted,
)

OTHER_USER = "user-2"


class Counted:
    """The store's usage, and how often it was asked for a sum."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._usage = store.usage
        self.asked = 0

    async def of_user(self, user_id: str, since: int) -> Days:
        self.asked += 1
        return await self._usage.of_user(user_id, since)

    async def of_conversation(self, conversation_id: str, since: int) -> Days:
        return await self._usage.of_conversation(conversation_id, since)

    async def note_spent(self, server: str, day: int, tokens: int) -> int:
        return await self._usage.note_spent(server, day, tokens)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "store.db")
    await store.connect()
    yield store
    await store.close()


async def answered(
    store: EmbeddedStore, tokens: int, *, user_id: str = USER, ago_days: int = 0
) -> Turn:
    conversation_id = await a_conversation(store, user_id)
    at = now_ms() - ago_days * DAY_MS
    turn = a_turn(conversation_id, status="running", user_id=user_id, created_at=at)
    await inserted(store, turn)
    await store.conversations.touch(turn)
    usage = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
    ended = await store.turns.finish(turn, "completed", an_answer(turn, usage=usage))
    assert ended is not None
    return ended


def of_users(usage: Counted, limit: int) -> Budgets:
    return Budgets(usage, per_user=limit, together=0, server="us:1")


async def refusal(of: Budgets, user_id: str = USER) -> RateLimited:
    with pytest.raises(RateLimited) as refused:
        await of.require(user_id)
    return refused.value


async def test_a_users_budget_is_the_sum_of_the_stores_day(store: EmbeddedStore) -> None:
    await answered(store, 500, ago_days=1)
    await answered(store, 60)
    await answered(store, 900, user_id=OTHER_USER)
    enough, spent = of_users(Counted(store), 61), of_users(Counted(store), 60)
    await enough.require(USER)
    error = await refusal(spent)
    assert "You have used 60 tokens" in error.message
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 24 * 3600
    assert error.retryable
    assert dict(spent.refused) == {"user": 1, "together": 0}
    budget = await enough.of_user(USER)
    assert budget is not None
    assert (budget.limit, budget.used) == (61, 60)
    assert budget.resets_at == (today() + 1) * DAY_MS


async def test_the_sum_is_kept_in_mind_and_raised_by_what_ends_here(store: EmbeddedStore) -> None:
    usage = Counted(store)
    of = of_users(usage, 100)
    for _ in range(5):
        await of.require(USER)
        await of.require("nobody")
    assert usage.asked == 2
    of.ended(await answered(store, 99))
    of.ended(await answered(store, 5_000, ago_days=1))  # yesterday's is no matter
    await of.require(USER)
    of.ended(await answered(store, 1))
    await refusal(of)
    assert usage.asked == 2


async def test_what_ended_elsewhere_counts_a_little_later(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = of_users(Counted(store), 100)
    await of.require(USER)
    await answered(store, 100)
    await of.require(USER)
    monkeypatch.setattr(budgets, "FRESH_SECONDS", 0.0)
    await refusal(of)


async def test_while_the_store_is_away_the_last_known_sum_counts(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = of_users(Counted(store), 100)
    ended = await answered(store, 60)
    await of.require(USER)
    monkeypatch.setattr(budgets, "FRESH_SECONDS", 0.0)
    await store.close()
    await of.require(USER)
    of.ended(ended)
    await refusal(of)
    await of.require("nobody")  # of whom nothing is known
    await store.connect()
    await of.require(USER)  # the store knows better


async def test_all_users_budget_is_what_all_servers_have_noted(store: EmbeddedStore) -> None:
    usage = Counted(store)
    here, there = (Budgets(usage, per_user=0, together=100, server=name) for name in ("a:1", "b:1"))
    for of in (here, there):
        await of.share()
        await of.require(USER)
    here.ended(await answered(store, 60))
    there.ended(await answered(store, 40, user_id=OTHER_USER))
    for of in (here, there):
        await of.require(USER)  # neither knows of the other yet
        await of.share()
    error = await refusal(there, "anybody")
    assert "All users together have used 100 tokens" in error.message
    await here.require(USER)
    await here.share()
    await refusal(here)
    # A new life of a server knows what the others, and its earlier ones, have noted.
    again = Budgets(usage, per_user=0, together=100, server="a:2")
    await again.share()
    await refusal(again)
    assert usage.asked == 0
    assert await here.of_user(USER) is None


async def test_what_was_spent_last_is_noted_at_the_end(store: EmbeddedStore) -> None:
    usage = Counted(store)
    of = Budgets(usage, per_user=0, together=100, server="a:1")
    of.ended(await answered(store, 60))
    await of.close()
    assert await store.usage.note_spent("b:1", today(), 0) == 60
    await store.close()
    turn = a_turn("c", created_at=now_ms())
    of.ended(replace(turn, answer=an_answer(turn, usage={"total_tokens": 5})))
    await of.close()  # nothing to note it in, and nothing raised


async def test_without_budgets_nothing_is_asked_or_kept(store: EmbeddedStore) -> None:
    usage = Counted(store)
    of = Budgets(usage, per_user=0, together=0, server="us:1")
    of.ended(await answered(store, 10**9))
    await of.require(USER)
    assert await of.of_user(USER) is None
    await of.share_forever()  # it ends at once
    assert usage.asked == 0
    assert await store.usage.note_spent("others", today(), 0) == 0


async def test_users_kept_in_mind_are_bounded(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "MAX_KEPT", 2)
    usage = Counted(store)
    of = of_users(usage, 100)
    for name in ("a", "b", "c", "c", "b", "a"):
        await of.require(name)
    assert usage.asked == 4
