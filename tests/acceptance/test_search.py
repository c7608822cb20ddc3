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
from tests.support.wait import wait_until


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


async def test_long_messages_are_no_more_than_a_stock_client_takes_at_once(app: App) -> None:
    """Six of these are a frame at which python-socketio's client hangs up."""
    head = {"format": "mnemosio-conversation", "version": 1}
    async with Client(app.url) as ada:
        for number in range(6):
            said = f"{number} lighthouse " + "and so on " * 80_000
            messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": said}]
            await ada.ok(
                "conversation:import",
                conversation_id=str(uuid.uuid4()),
                document={**head, "messages": messages},
            )
        assert len(await texts(ada, "lighthouse")) == 1


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


FILLER = (
    "Tell me something about the sea",
    "How do I sort a list in Python?",
    "What is for dinner?",
    "Is it going to rain?",
    "Name three rivers",
)


async def a_long_conversation(ada: Client, fact: str, turns: int) -> str:
    """Its id; the fact is said in its fifth turn."""
    conversation_id = (await ada.ask("Hello there"))["conversation_id"]
    for number in range(2, turns + 1):
        text = fact if number == 5 else f"{FILLER[number % len(FILLER)]} ({number})"
        await ada.ask(text, conversation_id)
    return conversation_id


async def test_an_old_fact_of_a_long_conversation_reaches_the_prompt(
    app: App, provider: Provider
) -> None:
    fact = "My sister Ingrid keeps alpacas near Tromsø"
    async with Client(app.url) as ada:
        conversation_id = await a_long_conversation(ada, fact, 120)
        assert fact not in "".join(provider.chats[-1].texts)
        ended = await ada.ask("Which animals does Ingrid keep near Tromso?", conversation_id)
        system, *window = provider.chats[-1].texts
        assert f"<user>{fact}</user>" in system
        assert not any(fact in text for text in window)
        turn_id = ended["turn_id"]
        answer = await ada.ok("turn:context", conversation_id=conversation_id, turn_id=turn_id)
        context = answer["context"]
        found = {each["seq"]: each for each in context["recalled"]}
        assert found[9]["text"] == fact
        assert all(seq < context["window"]["from_seq"] for seq in found)
        assert sum(context["tokens"].values()) - context["tokens"]["total"] <= context["budget"]
        assert context["left_out"] == []

        # What is replaced is not recalled any more.
        page = await ada.ok("conversation:history", conversation_id=conversation_id, before=10)
        fields = {"conversation_id": conversation_id, "message_id": page["messages"][-1]["id"]}
        await ada.ok("message:edit", **fields, new_message_id=str(uuid.uuid4()), content="No.")
        ended = await ada.ask("Which animals does Ingrid keep?", conversation_id)
        assert "alpacas" not in "".join(provider.chats[-1].texts)
        turn_id = ended["turn_id"]
        answer = await ada.ok("turn:context", conversation_id=conversation_id, turn_id=turn_id)
        assert answer["context"]["recalled"] == []


async def test_a_message_is_found_by_its_meaning(start_app: StartApp, provider: Provider) -> None:
    def embed(text: str) -> list[float]:
        animals = ("alpaca", "creature", "dog")
        return [1.0, float(any(word in text.lower() for word in animals)) * 9, 0.5]

    provider.embed = embed
    # Its key is not sent to whoever the embeddings come from.
    url = provider.base_url.replace("127.0.0.1", "localhost")
    settings = with_provider(provider, EMBEDDING_MODEL="small", EMBEDDING_BASE_URL=url)
    app = start_app(**settings)
    async with Client(app.url) as ada:
        conversation_id = (await ada.ask("Ingrid keeps alpacas"))["conversation_id"]
        await ada.ask("The tide is high", conversation_id)

        async def has_vectors() -> bool:
            found = await texts(ada, "which creatures?")
            return found[:1] == ["Ingrid keeps alpacas"] or found[:2] != []

        await wait_until(has_vectors, "the vectors are made")
        assert (await texts(ada, "which creatures?"))[0] in (
            "Ingrid keeps alpacas",
            "echo: Ingrid keeps alpacas",
        )
        assert provider.embedding_keys == {"Bearer none"}
        asked = len(provider.embedded)
        provider.embed = None
        assert "The tide is high" in await texts(ada, "tide")  # by its words
        assert len(provider.embedded) == asked + 1
        await ada.ok("conversation:delete", conversation_id=conversation_id)
        assert await texts(ada, "which creatures?") == []


async def test_an_answer_goes_on_without_what_cannot_be_searched(
    start_app: StartApp, settings: dict[str, str], way: LossyWay, provider: Provider
) -> None:
    app = await start_behind(
        start_app, way, settings, MEMORY_MAX_MESSAGES="10", RATE_LIMIT_MESSAGES_PER_MINUTE="0"
    )
    async with Client(app.url) as ada:
        conversation_id = await a_long_conversation(ada, "Ingrid keeps alpacas", 12)
        way.swallows = True
        await store_is(app, "down")
        sent = await ada.send("Which animals does Ingrid keep?", conversation_id)
        ended = await ada.completed(sent["turn"]["id"])
        assert ended["message"]["content"] == "echo: Which animals does Ingrid keep?"
        assert "alpacas" not in "".join(provider.chats[-1].texts)
        way.swallows = False
        await store_is(app, "ok")

        async def is_kept() -> bool:
            fields = {"conversation_id": conversation_id, "turn_id": sent["turn"]["id"]}
            answer = await ada.call("turn:context", fields)
            context = answer.get("context") if answer["ok"] else None
            return bool(context) and context["left_out"] == ["recall: unavailable"]

        await wait_until(is_kept, "the context says what was left out", timeout=15)


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
