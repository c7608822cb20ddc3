"""What is stored before its turn is, and what becomes of it where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from embedded.store import EmbeddedStore
from memory.records import Attachment, Question
from server.attachments import UNCLAIMED_MS, Attachments, references
from server.clock import now_ms
from server.protocol import NewAttachment
from stores.attachments import Origin
from tests.stores.conftest import connected
from tests.stores.samples import LEASE, USER, a_conversation, a_turn
from tests.support.pictures import png

LONG_AGO = 2 * UNCLAIMED_MS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "store.db")
    async with connected(store):
        yield store


@pytest.fixture
def attachments(store: EmbeddedStore) -> Attachments:
    return Attachments(store.attachments, store.turns, most=4, most_bytes=0, most_bytes_per_user=0)


def a_picture(shade: int = 0) -> NewAttachment:
    return NewAttachment(type="image", media_type="image/png", data=png(shade=shade))


async def put(
    store: EmbeddedStore, attachments: Attachments, conversation_id: str, key: str, at: int
) -> Attachment:
    """As a call would have, whose server died before it had a turn."""
    attached = attachments.checked(USER, key, [a_picture()])
    await store.attachments.put(Origin(USER, conversation_id, key), attached, at=at)
    return references(attached)[0]


async def is_there(store: EmbeddedStore, conversation_id: str, attachment: Attachment) -> bool:
    return await store.attachments.get(conversation_id, attachment.id) is not None


def test_ids_derive_from_the_call_and_the_bytes(attachments: Attachments) -> None:
    ids = [
        each.id
        for user, key, pictures in (
            ("u", "k", [a_picture(), a_picture()]),
            ("u", "k", [a_picture(1)]),
            ("u", "other", [a_picture()]),
            ("other", "k", [a_picture()]),
        )
        for each in references(attachments.checked(user, key, pictures))
    ]
    assert len(set(ids)) == len(ids)
    again = references(attachments.checked("u", "k", [a_picture()]))
    assert [each.id for each in again] == ids[:1]


async def test_what_a_dead_server_left_is_swept_by_age(
    store: EmbeddedStore, attachments: Attachments
) -> None:
    conversation_id = await a_conversation(store)
    left = await put(store, attachments, conversation_id, "left", now_ms() - LONG_AGO)
    young = await put(store, attachments, conversation_id, "young", now_ms())
    await attachments.sweep()
    assert not await is_there(store, conversation_id, left)
    assert await is_there(store, conversation_id, young)


async def test_however_much_is_left_is_swept_at_once(
    store: EmbeddedStore, attachments: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.attachments.SWEEP_LIMIT", 2)
    conversation_id = await a_conversation(store)
    for n in range(5):
        await put(store, attachments, conversation_id, f"left-{n}", now_ms() - LONG_AGO)
    await attachments.sweep()
    assert await store.attachments.unclaimed(before=now_ms(), limit=10) == []


async def test_what_a_turn_refers_to_is_looked_at_once_and_stays(
    store: EmbeddedStore, attachments: Attachments
) -> None:
    conversation_id = await a_conversation(store)
    kept = await put(store, attachments, conversation_id, "kept", now_ms() - LONG_AGO)
    question = Question(message_id="kept", content="?", created_at=1, attachments=[kept])
    await store.turns.insert(a_turn(conversation_id, 1, question=question), lease_ms=LEASE)
    # The same call's turn, but not with this: it had another before it was refused.
    stale = await put(store, attachments, conversation_id, "other", now_ms() - LONG_AGO)
    bare = a_turn(conversation_id, 2, message_id="other")
    await store.turns.insert(bare, lease_ms=LEASE)
    await attachments.sweep()
    assert await is_there(store, conversation_id, kept)
    assert not await is_there(store, conversation_id, stale)
    assert await store.attachments.unclaimed(before=now_ms(), limit=10) == []
    await attachments.sweep()
    assert await is_there(store, conversation_id, kept)


async def test_what_comes_again_while_it_is_swept_stays(
    store: EmbeddedStore, attachments: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = await a_conversation(store)
    attachment = await put(store, attachments, conversation_id, "again", now_ms() - LONG_AGO)
    by_message = store.turns.by_message

    async def meanwhile(user_id: str, key: str) -> object:
        found = await by_message(user_id, key)
        await put(store, attachments, conversation_id, "again", now_ms())
        return found

    monkeypatch.setattr(store.turns, "by_message", meanwhile)
    await attachments.sweep()
    assert await is_there(store, conversation_id, attachment)


async def test_a_message_without_any_asks_nothing_of_the_store() -> None:
    nobody = cast("Any", None)
    attachments = Attachments(nobody, nobody, most=4, most_bytes=1, most_bytes_per_user=1)
    attached = attachments.checked(USER, "key", [])
    assert attached == []
    await attachments.keep(USER, "conversation", "key", attached)
