"""A conversation of ten thousand messages, in both permanent stores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
import msgspec
import pytest

from embedded.store import EmbeddedStore
from memory.records import Turn
from mongo.store import MongoStore
from stores.contract import Store
from tests.acceptance.conftest import StartApp, with_provider
from tests.stores.samples import a_conversation, a_turn, an_answer
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider
from tests.support.wait import wait_until

SECRET = "a secret of the tests, and long enough for one"
USER = "ada"
TURNS = 5_000
AT_ONCE = 500


def a_past_turn(conversation_id: str, n: int) -> Turn:
    turn = a_turn(conversation_id, n, user_id=USER, status="completed", open=False, answers=n)
    return msgspec.structs.replace(turn, answer=an_answer(turn))


async def fill(store: Store) -> str:
    """A conversation of ``TURNS`` turns, each answered and closed."""
    await store.connect()
    conversation_id = await a_conversation(store, USER)
    turns = [a_past_turn(conversation_id, n) for n in range(1, TURNS + 1)]
    for first in range(0, TURNS, AT_ONCE):
        some = turns[first : first + AT_ONCE]
        await asyncio.gather(*(store.turns.insert(turn, lease_ms=0) for turn in some))
    await store.turns.close(turns[-1])
    await store.close()
    return conversation_id


@pytest.mark.parametrize("permanent", ["embedded", "mongodb"])
async def test_ten_thousand_messages_are_opened_paged_answered_and_summarised(
    start_app: StartApp, provider: Provider, mongod: Mongod, tmp_path: Path, permanent: str
) -> None:
    settings = with_provider(provider, AUTH_JWT_SECRET=SECRET)
    store: Store = EmbeddedStore(tmp_path / "data" / "mnemosio.db")
    if permanent == "mongodb":
        settings |= {"MONGODB_URI": mongod.uri, "MONGODB_DATABASE": "acceptance_long"}
        store = MongoStore(mongod.uri, "acceptance_long")
    conversation_id = await fill(store)
    app = start_app(tmp_path / "data", **settings)

    async with Client(app.url, jwt.encode({"sub": USER}, SECRET, "HS256")) as ada:
        opened = await ada.ok("conversation:open", conversation_id=conversation_id)
        assert opened["conversation"]["message_count"] == 2 * TURNS
        assert [m["seq"] for m in opened["messages"]] == list(range(2 * TURNS - 49, 2 * TURNS + 1))

        before: int | None = None
        seqs: list[int] = []
        has_more = True
        while has_more:
            page = await ada.ok(
                "conversation:history", conversation_id=conversation_id, before=before, limit=200
            )
            has_more, before = page["has_more"], page["messages"][0]["seq"]
            seqs = [message["seq"] for message in page["messages"]] + seqs
        assert seqs == list(range(1, 2 * TURNS + 1))

        answered = await ada.ask("and now?", conversation_id)
        assert answered["message"]["seq"] == 2 * TURNS + 2
        assert provider.chats[-1].texts[-3:] == [f"question {TURNS}", f"answer {TURNS}", "and now?"]
        await wait_until(lambda: provider.summaries, "its beginning is summarised")
        await ada.ok("conversation:delete", conversation_id=conversation_id)
