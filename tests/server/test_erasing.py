"""What is remembered of a user goes with all else, but for what was learned since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded.conversations import EmbeddedConversations
from embedded.store import EmbeddedStore
from memory.facts import Finding, Remembered, Source
from memory.records import Conversation
from server.deletion import Deletion
from server.erasing import LISTED_TOGETHER, Erasing, forget_before
from stores.contract import Store
from stores.erasures import Erasure
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation, a_turn, inserted


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


class GoingOn(EmbeddedConversations):
    """Conversations of which the oldest goes on as soon as the first page of them was given."""

    oldest = ""

    async def list(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        page = await super().list(user_id, before=before, limit=limit)
        if self.oldest:
            oldest, self.oldest = self.oldest, ""
            await self.touch(a_turn(oldest, created_at=9_000_000))
        return page


class LivelyStore(EmbeddedStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.conversations = self.going_on = GoingOn(self._database, self.facts, self.usage)


class OfTheStoreAlone(Deletion):
    def __init__(self, conversations: EmbeddedConversations) -> None:
        self._conversations = conversations

    async def entomb(self, conversation_id: str, user_id: str) -> None:
        await self._conversations.delete(conversation_id, user_id)

    async def tidy(self, conversation_id: str) -> None:
        await self._conversations.purge(conversation_id)


async def test_a_conversation_that_goes_on_while_they_are_listed_goes_as_well(
    tmp_path: Path,
) -> None:
    lively = LivelyStore(tmp_path / "store.db")
    conversations = lively.going_on
    async with connected(lively):
        ids = [await a_conversation(lively, at=at) for at in range(1, LISTED_TOGETHER + 20)]
        await inserted(lively, a_turn(ids[0]))
        conversations.oldest = ids[0]
        told: list[str] = []
        erasing = Erasing(
            conversations=conversations,
            erasures=lively.erasures,
            facts=lively.facts,
            deletion=OfTheStoreAlone(conversations),
            tell=lambda user_id, event, body: told.append(body["conversation_id"]),
        )
        assert await erasing.erase(USER) == len(ids) == len(told)
        assert await conversations.list(USER, before=None, limit=10) == []
        assert await lively.erasures.of(USER) is None
        await erasing.close()
