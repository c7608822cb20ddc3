"""A conversation's title after its first answer, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.provider import Provider, Script, echo, is_title
from tests.support.wait import wait_until

TITLES = {"TITLES": "true"}


def answering(title: Script) -> Callable[[dict[str, Any]], Script]:
    """Titles as scripted, and answers as ever."""
    return lambda body: title if is_title(body) else echo(body)


async def title_of(client: Client, conversation_id: str) -> str:
    listed = await client.ok("conversation:list")
    return {each["id"]: each["title"] for each in listed["conversations"]}[conversation_id]


async def test_the_first_answer_brings_a_title_told_in_every_tab(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    here, there = start_app(**shared, **TITLES), start_app(**shared, **TITLES)
    said = Script(['"The capital', ' of France."\n', "I chose it because …"])
    provider.respond = answering(said)
    async with Client(here.url) as mine, Client(there.url, mine.token) as elsewhere:
        first = await mine.ask("Tell me, what is the capital of France?")
        for tab in (mine, elsewhere):
            told = await tab.next_event("conversation:updated")
            assert told["conversation"]["id"] == first["conversation_id"]
            assert told["conversation"]["title"] == "The capital of France"
        assert await title_of(elsewhere, first["conversation_id"]) == "The capital of France"
        await elsewhere.ask("And of Spain?", first["conversation_id"])
        await mine.ask("And of Italy?", first["conversation_id"])
    assert len(provider.titles) == 1
    asked = provider.titles[0].texts[-1]
    assert "<user>Tell me, what is the capital of France?</user>" in asked
    assert "<assistant>echo: Tell me," in asked


async def test_a_users_title_wins_over_one_that_comes_late(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider), **TITLES)
    gate = asyncio.Event()
    provider.respond = answering(Script(["Too late"], gate=gate, gate_after=0))
    async with Client(app.url) as mine:
        first = await mine.ask("hello")
        conversation_id = first["conversation_id"]
        await wait_until(lambda: provider.titles, "a title is asked for")
        await mine.ok("conversation:rename", conversation_id=conversation_id, title="Mine")
        gate.set()
        await wait_until(lambda: provider.open_streams == 0, "the title has come")
        await mine.ask("still there?", conversation_id)
        assert await title_of(mine, conversation_id) == "Mine"
        titles = [told["conversation"]["title"] for told in mine.all("conversation:updated")]
        assert titles == ["Mine"]


async def test_a_conversation_with_a_title_of_the_users_is_not_asked_about(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider), **TITLES)
    async with Client(app.url) as mine:
        made = await mine.ok("conversation:create", title="Plans")
        await mine.ask("hello", made["conversation"]["id"])
        untitled = await mine.ok("conversation:create")
        await mine.ask("good day", untitled["conversation"]["id"])
        await wait_until(lambda: provider.titles, "the other is asked about")
        await wait_until(lambda: provider.open_streams == 0, "the title has come")
        assert await title_of(mine, made["conversation"]["id"]) == "Plans"

        async def is_titled() -> bool:
            return await title_of(mine, untitled["conversation"]["id"]) == "About good day"

        await wait_until(is_titled, "the untitled one has a title")
    assert len(provider.titles) == 1


async def test_without_a_title_of_the_models_the_first_one_stays(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider), **TITLES)
    async with Client(app.url) as mine:
        for script in (Script(status=400), Script([' "" '])):
            provider.respond = answering(script)
            provider.requests.clear()
            first = await mine.ask("hello")
            await wait_until(lambda: provider.titles, "a title is asked for")
            await wait_until(lambda: provider.open_streams == 0, "that is over")
            await mine.ask("and again", first["conversation_id"])
            assert await title_of(mine, first["conversation_id"]) == "hello"
            assert len(provider.titles) == 1
        assert mine.all("conversation:updated") == []
    assert "Traceback" not in app.output


async def test_a_conversation_whose_first_question_found_no_answer_gets_its_title_later(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider), **TITLES)
    async with Client(app.url) as mine:
        provider.respond = lambda body: Script(status=400)
        sent = await mine.send("what is the capital?")
        conversation_id = sent["conversation_id"]
        assert (await mine.ended(sent["turn"]["id"]))[0] == "turn:failed"
        provider.respond = echo
        await mine.ask("of France, I mean", conversation_id)
        told = await mine.next_event("conversation:updated")
        assert told["conversation"]["title"] == "About of France, I mean"
    assert len(provider.titles) == 1


async def test_whoever_takes_the_first_answer_over_asks_for_the_title(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    first, second = start_app(**shared, **TITLES), start_app(**shared, **TITLES)
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    guest = await Client(first.url).connect()
    sent = await guest.send("one")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    provider.respond = echo
    first.kill()
    async with Client(second.url, guest.token) as tab:
        told = await tab.next_event("conversation:updated", timeout=15)
        assert told["conversation"]["id"] == sent["conversation_id"]
        assert told["conversation"]["title"] == "About one"
    assert len(provider.titles) == 1


async def test_the_demo_model_makes_no_titles(start_app: StartApp) -> None:
    app = start_app(**TITLES)
    async with Client(app.url) as guest:
        first = await guest.ask("hello")
        await guest.ask("and again", first["conversation_id"])
        assert await title_of(guest, first["conversation_id"]) == "hello"
        assert guest.all("conversation:updated") == []
