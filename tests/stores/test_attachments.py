"""Attachments: stored once, given to whom they belong, swept where nobody refers to them, and gone
with their conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.records import Attachment, request_digest
from mongo import attachments as mongo_attachments
from stores.attachments import LEAST_BYTES, Origin
from stores.contract import Store
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation, new_id

DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


def a_picture(data: bytes = DATA) -> tuple[Attachment, bytes]:
    return Attachment(id=new_id(), type="image", media_type="image/png", size=len(data)), data


async def put(store: Store, conversation_id: str, *, key: str = "k", at: int = 10) -> Attachment:
    picture = a_picture()
    await store.attachments.put(Origin(USER, conversation_id, key), [picture], at=at)
    return picture[0]


async def ids_before(store: Store, before: int) -> list[str]:
    return [each.id for each in await store.attachments.unclaimed(before=before, limit=10)]


async def test_what_was_stored_reads_back_in_its_conversation_only(store: Store) -> None:
    conversation_id = await a_conversation(store)
    first, second = a_picture(), a_picture(b"GIF89a")
    origin = Origin(USER, conversation_id, "k")
    await store.attachments.put(origin, [first, second], at=10)
    assert await store.attachments.get(conversation_id, first[0].id) == first
    assert await store.attachments.get(conversation_id, second[0].id) == second
    assert await store.attachments.get("another", first[0].id) is None
    assert await store.attachments.get(conversation_id, new_id()) is None


async def test_storing_again_changes_nothing_but_the_time(any_store: Store) -> None:
    conversation_id = await a_conversation(any_store)
    picture, origin = a_picture(), Origin(USER, conversation_id, "k")
    await asyncio.gather(
        *(any_store.attachments.put(origin, [picture], at=at) for at in (10, 30, 20))
    )
    assert await any_store.attachments.get(conversation_id, picture[0].id) == picture
    assert await any_store.attachments.bytes_of(USER, but_for="") == len(DATA)
    assert await ids_before(any_store, 30) == []
    assert await ids_before(any_store, 31) == [picture[0].id]


async def test_a_users_attachments_are_summed_up(store: Store) -> None:
    mine = await a_conversation(store)
    await put(store, mine, key="a")
    await put(store, await a_conversation(store), key="b")
    await store.attachments.put(Origin(USER, mine, "c"), [a_picture(b"small")], at=1)
    await store.attachments.put(Origin("user-2", mine, "d"), [a_picture()], at=1)
    assert await store.attachments.bytes_of(USER, but_for="e") == 2 * len(DATA) + LEAST_BYTES
    # A call that is repeated is not told that it has used up what it has stored itself.
    assert await store.attachments.bytes_of(USER, but_for="b") == len(DATA) + LEAST_BYTES
    assert await store.attachments.bytes_of("nobody", but_for="e") == 0


async def test_what_nobody_claimed_is_found_the_oldest_first(store: Store) -> None:
    conversation_id = await a_conversation(store)
    young = await put(store, conversation_id, key="young", at=300)
    late = await put(store, conversation_id, key="late", at=200)
    early = await put(store, conversation_id, key="early", at=100)
    claimed = await put(store, conversation_id, key="claimed", at=50)
    await store.attachments.claim([claimed.id])
    found = await store.attachments.unclaimed(before=300, limit=10)
    assert [each.id for each in found] == [early.id, late.id]
    assert found[0].origin == Origin(USER, conversation_id, "early")
    assert len(await store.attachments.unclaimed(before=300, limit=1)) == 1
    assert young.id in await ids_before(store, 301)


async def test_only_what_is_still_unclaimed_and_old_is_removed(store: Store) -> None:
    conversation_id = await a_conversation(store)
    claimed = await put(store, conversation_id)
    old = await put(store, conversation_id)
    again = a_picture()
    origin = Origin(USER, conversation_id, "again")
    await store.attachments.put(origin, [again], at=10)
    ids = await ids_before(store, 100)
    assert len(ids) == 3
    await store.attachments.claim([claimed.id])
    await store.attachments.put(origin, [again], at=100)  # its call came once more
    assert await store.attachments.remove_unclaimed(ids, before=100) == 1
    assert await store.attachments.get(conversation_id, old.id) is None
    assert await store.attachments.get(conversation_id, claimed.id) is not None
    assert await store.attachments.get(conversation_id, again[0].id) == again


async def test_a_purge_takes_them_with_the_conversation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.attachments.PURGE_ATTACHMENTS", 2)
    monkeypatch.setattr(mongo_attachments, "PURGE_ATTACHMENTS", 2)
    conversation_id, other = await a_conversation(store), await a_conversation(store)
    mine = [await put(store, conversation_id, key=str(n)) for n in range(5)]
    kept = await put(store, other)
    await store.conversations.purge(conversation_id)  # it is not deleted
    assert await store.attachments.get(conversation_id, mine[0].id) is not None
    await store.conversations.delete(conversation_id, USER)
    for _ in range(2):
        await store.conversations.purge(conversation_id)
        for each in mine:
            assert await store.attachments.get(conversation_id, each.id) is None
    assert await store.conversations.unpurged(10) == []
    assert await store.attachments.get(other, kept.id) is not None


async def test_purged_bytes_are_in_no_file_any_more(tmp_path: Path) -> None:
    marked = b"GIF89a" + b"seldom heard" * 5_000
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        conversation_id = await a_conversation(store)
        await store.attachments.put(Origin(USER, conversation_id, "k"), [a_picture(marked)], at=1)
        await store.conversations.delete(conversation_id, USER)
        await store.conversations.purge(conversation_id)
        for file in tmp_path.iterdir():
            assert b"seldom heard" not in file.read_bytes(), file.name


def test_a_digest_without_attachments_is_what_it_was() -> None:
    """Stored turns have it."""
    plain = request_digest("c", "text")
    assert plain == "52a9c70c13253cd906a1f3871cd57cb2402bf95891d4d6528e54d02bf3b1eee9"
    assert plain == request_digest("c", "text", [])
    with_one = request_digest("c", "text", [a_picture()[0]])
    assert len({plain, with_one, request_digest("c", "text", [a_picture()[0]])}) == 3
