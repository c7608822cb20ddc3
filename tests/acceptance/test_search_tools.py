"""The model searches by itself; and one that takes no tools answers without."""

from __future__ import annotations

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.provider import Body, Provider, Script, ToolCall, echo


def tool_names(body: Body) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


async def test_what_was_said_in_another_conversation_is_found_by_the_model(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))

    def respond(body: Body) -> Script:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return Script([f"You said: {last['content']}"])
        if "remind me" in str(last["content"]):
            query = '{"query": "ferret"}'
            return Script(calls=[ToolCall("search_other_conversations", query)])
        return echo(body)

    provider.respond = respond
    async with Client(app.url) as ada, Client(app.url) as stranger:
        await ada.ask("My ferret is called Quicksilver.")
        await stranger.ask("My ferret is called Mudge.")
        answer = await ada.ask("Please remind me what my pet is called.")
        assert "Quicksilver" in answer["message"]["content"]
        assert "Mudge" not in answer["message"]["content"]
        [started, finished] = [event["tool"] for event in ada.all("turn:tool")]
        assert (started["name"], finished["status"]) == ("search_other_conversations", "finished")
    # What only searches needs no word about it: the operator's prompt is sent as it is.
    assert provider.chats[0].messages[0]["content"] == provider.chats[-1].messages[0]["content"]


async def test_a_provider_that_refuses_tools_is_asked_without_and_not_again(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    provider.respond = lambda body: Script(status=400) if body.get("tools") else echo(body)
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        assert first["message"]["content"] == "echo: one"
        second = await guest.ask("two", first["conversation_id"])
        assert second["message"]["content"] == "echo: two"
    offered = [bool(tool_names(request.body)) for request in provider.chats]
    assert offered == [True, False, False]


async def test_a_request_that_is_refused_with_tools_and_without_fails_once(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    provider.respond = lambda body: Script(status=400)
    async with Client(app.url) as guest:
        sent = await guest.send("one")
        name, failed = await guest.ended(sent["turn"]["id"])
        assert (name, failed["error"]["code"]) == ("turn:failed", "invalid")
        provider.respond = echo
        await guest.ask("two", sent["conversation_id"])
    # It was something else: tools are still offered.
    assert tool_names(provider.chats[-1].body) == [
        "search_conversation",
        "search_other_conversations",
    ]


async def test_a_wrong_key_is_not_tried_twice(start_app: StartApp, provider: Provider) -> None:
    app = start_app(**with_provider(provider))
    provider.respond = lambda body: Script(status=401)
    async with Client(app.url) as guest:
        sent = await guest.send("one")
        await guest.ended(sent["turn"]["id"])
    assert len(provider.chats) == 1


async def test_search_tools_can_be_switched_off(start_app: StartApp, provider: Provider) -> None:
    app = start_app(**with_provider(provider, SEARCH_TOOLS="false"))
    async with Client(app.url) as guest:
        await guest.ask("one")
    assert "tools" not in provider.chats[0].body
