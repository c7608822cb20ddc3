"""What was said long ago is found: by its user, and by the assistant."""

from __future__ import annotations

import uuid

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.outages import start_behind, store_is
from tests.stores.lossy import LossyWay
from tests.support.app import App
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider


@pytest.fixture(params=["embedded", "mongodb"])
def app(
    request: pytest.FixtureRequest, start_app: StartApp, provider: Provider, mongod: Mongod
) -> App:
    settings = with_provider(provider, RATE_LIMIT_MESSAGES_PER_MINUTE="0")
    if request.param == "mongodb":
        settings |= {"MONGODB_URI": mongod.uri, "MONGODB_DATABASE": f"s_{uuid.uuid4().hex[:8]}"}
    return start_app(**settings)


async def texts(client: Client, query: str, **fields: object) -> list[str]:
    results = (await client.ok("conversation:search", query=query, **fields))["results"]
    return [result["message"]["content"] for result in results]


async def test_a_user_finds_messages_in_all_conversations_or_in_one(app: App) -> None:
    async with Client(app.url) as ada, Client(app.url) as bob:
        one = (await ada.ask("The lighthouse is in Portree"))["conversation_id"]
        two = (await ada.ask("Which lighthouse was it?"))["conversation_id"]
        await bob.ask("My lighthouse is a secret")
        answer = await ada.ok("conversation:search", query="lighthouses")
        assert {result["conversation"]["id"] for result in answer["results"]} == {one, two}
        assert all("lighthouse" in result["snippet"] for result in answer["results"])
        assert len(answer["results"]) == 4  # the provider echoes
        assert await texts(ada, "lighthouse", conversation_id=one, limit=1) == [
            "The lighthouse is in Portree"
        ]
        assert await texts(ada, "nothing of the kind") == []
        assert all("secret" not in text for text in await texts(ada, '"my" secret -lighthouse'))
        refused = await bob.call("conversation:search", {"query": "x", "conversation_id": one})
        assert refused["error"]["code"] == "not_found"
        for wrong in ({"query": ""}, {"query": "x" * 501}, {"query": "x", "limit": 51}, {}):
            assert (await ada.call("conversation:search", wrong))["error"]["code"] == "invalid"


async def test_a_long_messages_snippet_has_what_was_found(app: App) -> None:
    async with Client(app.url) as ada:
        await ada.ask("word " * 400 + "lighthouse " + "other " * 400)
        results = (await ada.ok("conversation:search", query="lighthouse"))["results"]
        for result in results:
            assert "lighthouse" in result["snippet"]
            assert len(result["snippet"]) <= 202


async def test_what_was_edited_or_deleted_is_not_found(app: App) -> None:
    async with Client(app.url) as ada:
        asked = await ada.ask("The lighthouse is in Portree")
        conversation_id = asked["conversation_id"]
        question = (await ada.transcript(conversation_id))[0]
        fields = {"conversation_id": conversation_id, "message_id": question["id"]}
        new_id = str(uuid.uuid4())
        await ada.ok("message:edit", **fields, new_message_id=new_id, content="The pier is in Uig")
        assert await texts(ada, "lighthouse portree") == []
        assert "The pier is in Uig" in await texts(ada, "pier")
        await ada.ok("conversation:delete", conversation_id=conversation_id)
        assert await texts(ada, "pier uig") == []


async def test_a_search_is_unavailable_while_mongodb_is_away(
    start_app: StartApp, settings: dict[str, str], way: LossyWay
) -> None:
    app = await start_behind(start_app, way, settings)
    async with Client(app.url) as ada:
        await ada.ask("The lighthouse is in Portree")
        way.swallows = True
        await store_is(app, "down")
        refused = await ada.call("conversation:search", {"query": "lighthouse"})
        assert (refused["error"]["code"], refused["error"]["retryable"]) == ("unavailable", True)
        way.swallows = False
        await store_is(app, "ok")
        assert len(await texts(ada, "lighthouse")) == 2
