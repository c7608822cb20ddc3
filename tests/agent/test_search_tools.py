"""The tools that search: whose messages, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.finding import Finder
from agent.tools.builtin import NOTHING, search_tools
from agent.tools.running import Running
from embedded.store import EmbeddedStore
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation
from tests.stores.test_search import said


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "store.db")
    async with connected(store):
        yield store


async def told(store: EmbeddedStore, name: str, query: str, here: str, user: str = USER) -> str:
    tool = next(tool for tool in search_tools(Finder(store.search)) if tool.name == name)
    config = {"configurable": {"user_id": user, "conversation_id": here, "turn_id": "t"}}
    with ThreadPoolExecutor(1) as threads:
        outcome = await Running(threads).run(tool, {"query": query}, config)  # type: ignore[arg-type]
    assert outcome.status == "finished", outcome
    return outcome.output


async def test_one_searches_this_conversation_and_one_the_others(store: EmbeddedStore) -> None:
    here, there = await a_conversation(store), await a_conversation(store)
    theirs = await a_conversation(store, "user-2")
    await store.conversations.rename(there, USER, "Holidays")
    await said(store, here, "The lighthouse is in Portree", "Noted")
    await said(store, there, "We saw a lighthouse in Uig", "Lovely")
    found = await told(store, "search_conversation", "lighthouse", here)
    assert "<user>The lighthouse is in Portree</user>" in found
    assert "Uig" not in found
    found = await told(store, "search_other_conversations", "lighthouse", here)
    assert "Portree" not in found
    assert found.startswith("Conversation: Holidays\n")
    assert "<user>We saw a lighthouse in Uig</user>" in found
    for name in ("search_conversation", "search_other_conversations"):
        assert await told(store, name, "lighthouse", theirs, "user-2") == NOTHING
        assert await told(store, name, "lighthouse", here, "user-2") == NOTHING


def test_they_change_nothing_and_take_a_query_alone(tmp_path: Path) -> None:
    for tool in search_tools(Finder(EmbeddedStore(tmp_path / "store.db").search)):
        assert not tool.changes
        assert tool.may_repeat
        assert list(tool.shape["function"]["parameters"]["properties"]) == ["query"]
        assert tool.shape["function"]["description"]
