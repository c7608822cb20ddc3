"""What is remembered of a person, in every store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.facts import Finding, Remembered, Source
from stores.contract import Store
from stores.facts import change
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation, edited, exchanges, new_id


def found(text: str, conversation_id: str = "c", place: int = 1) -> Finding:
    source = Source(
        conversation_id=conversation_id, message_id=new_id(), seq=2 * place - 1, at=place
    )
    return Finding(kind="add", source=source, text=text)


async def learned(store: Store, *findings: Finding, user_id: str = USER) -> Remembered:
    kept = await change(store.facts, user_id, lambda known: known.learned(findings, now=1_000))
    assert kept is not None
    return kept


def texts(remembered: Remembered) -> list[str]:
    return sorted(fact.text for fact in remembered.facts)


async def test_what_is_kept_comes_back_as_it_was(any_store: Store) -> None:
    assert await any_store.facts.of(USER) == Remembered()
    kept = await learned(any_store, found("Likes tea"), found("Is called Zoë 🙂"))
    kept = kept.without(kept.facts[0], now=2_000).read_upto("c", 2**40)
    assert await any_store.facts.keep(USER, kept, over=(await any_store.facts.of(USER)).stamp)
    assert await any_store.facts.of(USER) == kept
    assert await any_store.facts.of("another") == Remembered()


async def test_only_what_is_as_it_was_read_is_replaced(two_stores: tuple[Store, Store]) -> None:
    here, there = two_stores
    nothing = await here.facts.of(USER)
    mine, theirs = (nothing.learned([found(text)], now=1) for text in ("mine", "theirs"))
    assert await here.facts.keep(USER, mine, over="")
    assert not await there.facts.keep(USER, theirs, over="")
    assert not await there.facts.keep(USER, theirs, over="another")
    assert await there.facts.of(USER) == mine
    # The reply to a call was lost, and it is made again.
    assert await here.facts.keep(USER, mine, over="")
    later = mine.learned([found("later")], now=2)
    assert await there.facts.keep(USER, later, over=mine.stamp)
    assert await there.facts.keep(USER, later, over=mine.stamp)
    assert not await here.facts.keep(USER, mine, over="")
    assert texts(await here.facts.of(USER)) == ["later", "mine"]


async def test_nothing_is_lost_and_nothing_there_twice_when_many_change_it_at_once(
    two_stores: tuple[Store, Store],
) -> None:
    await asyncio.gather(
        *(learned(two_stores[n % 2], found("Likes tea"), found(f"fact {n}")) for n in range(8))
    )
    expected = sorted(["Likes tea", *(f"fact {n}" for n in range(8))])
    assert texts(await two_stores[0].facts.of(USER)) == expected


async def test_all_of_a_user_is_forgotten(store: Store) -> None:
    kept = await learned(store, found("Likes tea"))
    await learned(store, found("Likes milk"), user_id="another")
    await store.facts.forget(USER, over="not this one")
    assert await store.facts.of(USER) == kept
    await store.facts.forget(USER, over=kept.stamp)
    assert await store.facts.of(USER) == Remembered()
    await learned(store, found("Likes tea"))
    await store.facts.forget(USER)
    await store.facts.forget(USER)
    assert await store.facts.of(USER) == Remembered()
    assert texts(await store.facts.of("another")) == ["Likes milk"]


async def test_who_listens_hears_of_other_facts_and_of_nothing_else(store: Store) -> None:
    heard: list[str] = []
    store.facts.listen(heard.append)
    kept = await learned(store, found("Likes tea"))
    assert heard == [USER]
    await change(store.facts, USER, lambda known: known.read_upto("c", 4))
    await store.facts.keep(USER, kept, over="no longer there")
    assert heard == [USER]
    await store.facts.forget(USER)
    assert heard == [USER, USER]
    await store.facts.forget(USER)
    assert heard == [USER, USER]


async def test_text_that_no_store_can_keep_is_refused(store: Store) -> None:
    with pytest.raises(ValueError):
        await learned(store, found("\ud800"))


async def test_a_purge_removes_what_came_only_from_the_conversation(store: Store) -> None:
    here, there = [await a_conversation(store) for _ in range(2)]
    both = found("Lives in Bern", here), found("Lives in Bern", there)
    kept = await learned(store, *both, found("Likes tea", here))
    await store.conversations.purge(here)
    assert await store.facts.of(USER) == kept
    await store.conversations.delete(here, USER)
    await store.conversations.purge(here)
    await store.conversations.purge(here)
    left = await store.facts.of(USER)
    assert texts(left) == ["Lives in Bern"]
    assert [source.conversation_id for source in left.facts[0].sources] == [there]


async def test_a_purge_keeps_nothing_of_a_user_of_whom_nothing_is_remembered(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    assert await store.facts.of(USER) == Remembered()


async def test_an_edit_removes_what_came_only_from_what_it_rewrote(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turns = await exchanges(store, conversation_id, 3)
    kept = await learned(
        store, *(found(f"fact {turn.place}", conversation_id, turn.place) for turn in turns)
    )
    kept = kept.read_upto(conversation_id, 6)
    assert await store.facts.keep(USER, kept, over=(await store.facts.of(USER)).stamp)
    edit = await edited(store, conversation_id, 2)
    left = await store.facts.of(USER)
    assert texts(left) == ["fact 1"]
    assert left.progress == {conversation_id: 2}
    await store.turns.supersede(edit)
    assert (await store.facts.of(USER)).facts == left.facts


async def test_an_edit_keeps_nothing_of_a_user_of_whom_nothing_is_remembered(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await exchanges(store, conversation_id, 1)
    await edited(store, conversation_id, 1)
    assert await store.facts.of(USER) == Remembered()


async def test_what_was_deleted_is_in_no_file_any_more(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        secret = "Is allergic to hazelnuts"
        kept = await learned(store, found(secret), found("Likes tea"))
        fact = next(each for each in kept.facts if each.text == secret)
        await change(store.facts, USER, lambda known: known.without(fact, now=1))
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"hazelnuts" not in files
        assert b"Likes tea" in files


async def test_a_file_from_before_there_were_facts_gets_room_for_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with connected(EmbeddedStore(path)):
        pass
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE facts")
    async with connected(EmbeddedStore(path)) as store:
        kept = await learned(store, found("Likes tea"))
        assert await store.facts.of(USER) == kept
