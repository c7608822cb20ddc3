"""What is remembered of people, as a server has it in mind for its prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.facts import Finding, Source
from server.facts import MAX_FACTS_IN_MIND, Facts
from stores.contract import Store
from stores.facts import change
from tests.stores.conftest import connected

HERE = "conversation"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, tmp_path: Path) -> AsyncIterator[Store]:
    """Another server's."""
    async with connected(EmbeddedStore(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
def facts(store: Store) -> Facts:
    return Facts(store.facts, store.conversations.positions, enabled=True)


async def learn(store: Store, *texts: str, user_id: str = "me") -> None:
    source = Source(conversation_id=HERE, message_id="m", seq=1, at=1)
    found = [Finding(kind="add", source=source, text=text) for text in texts]
    await change(store.facts, user_id, lambda known: known.learned(found, now=1))


async def known(facts: Facts, revision: int = 0, conversation_id: str = HERE) -> list[str]:
    return sorted(fact.text for fact in await facts.known("me", conversation_id, revision))


async def test_what_this_server_changes_is_known_at_once_and_told(
    facts: Facts, store: Store
) -> None:
    told: list[str] = []
    facts.tell = told.append
    assert await known(facts) == []
    await learn(store, "Likes tea")
    assert await known(facts) == ["Likes tea"]
    await learn(store, "Likes milk", user_id="another")
    assert await known(facts) == ["Likes tea"]
    assert told == ["me", "another"]


async def test_it_is_read_once_until_another_server_tells_of_a_change(
    facts: Facts, store: Store, other: Store
) -> None:
    told: list[str] = []
    facts.tell = told.append
    assert await known(facts) == []
    await learn(other, "Likes tea")
    assert await known(facts) == []
    assert await known(facts, 0, "another conversation") == []
    facts.drop("me")
    assert await known(facts) == ["Likes tea"]
    assert told == []


async def test_it_is_read_anew_after_a_while(
    facts: Facts, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.facts.MIND_SECONDS", -1.0)
    assert await known(facts) == []
    await learn(other, "Likes tea")
    assert await known(facts) == ["Likes tea"]


async def test_for_a_conversation_that_was_edited_it_is_read_anew(
    facts: Facts, other: Store
) -> None:
    assert await known(facts, 0) == []
    await learn(other, "Likes tea")
    assert await known(facts, 0) == []
    assert await known(facts, 1) == ["Likes tea"]
    await learn(other, "Likes milk")
    assert await known(facts, 1) == ["Likes tea"]
    assert await known(facts, 2) == ["Likes milk", "Likes tea"]


async def test_what_is_in_mind_is_bounded(
    facts: Facts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.facts.MAX_USERS_IN_MIND", 2)
    await learn(store, *(f"fact {n}" for n in range(150)))
    for user_id in ("me", "second", "third"):
        found = await facts.known(user_id, HERE, 0)
    assert found == []
    assert list(facts._known) == ["second", "third"]
    kept = await facts.known("me", HERE, 0)
    assert len(kept) == MAX_FACTS_IN_MIND
    assert not any(fact.sources for fact in kept)
