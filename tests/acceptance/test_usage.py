"""``user:usage`` and budgets, over the wire, by what a provider tells."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.test_observed import measures
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until


def uses(provider: Provider, tokens: int) -> None:
    """From now on each answer uses so many, one of them for what is said."""
    provider.respond = lambda body: Script(["said"], prompt_tokens=tokens - 1)


def used(turns: int, tokens: int) -> dict[str, int]:
    """So many turns, and all their tokens together."""
    asked = {"input_tokens": tokens - turns, "output_tokens": turns}
    return {"turns": turns, **asked, "total_tokens": tokens}


def today() -> str:
    return datetime.now(UTC).date().isoformat()


async def usage_of(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await client.ok("user:usage", **fields)
    assert answer["days"] in ([], [{"day": today(), **answer["usage"]}])
    usage: dict[str, Any] = answer["usage"]
    return usage


async def test_usage_is_added_up_for_a_conversation_and_for_a_user(
    two: tuple[App, App], provider: Provider
) -> None:
    here, there = two
    async with Client(here.url) as mine, Client(there.url, mine.token) as elsewhere:
        assert await usage_of(mine) == used(0, 0)
        uses(provider, 100)
        first = (await mine.ask("one"))["conversation_id"]
        uses(provider, 30)
        await elsewhere.ask("two", first)
        second = await elsewhere.ask("three")
        for tab in (mine, elsewhere):
            assert await usage_of(tab) == used(3, 160)
            assert await usage_of(tab, days=1) == used(3, 160)
            assert await usage_of(tab, conversation_id=first) == used(2, 130)
        # What is replaced was paid for; and so was what is deleted.
        again = {"turn_id": second["turn_id"], "new_turn_id": new_id()}
        where = second["conversation_id"]
        await elsewhere.ok("turn:regenerate", conversation_id=where, **again)
        await elsewhere.completed(again["new_turn_id"])
        assert await usage_of(mine, conversation_id=where) == used(2, 60)
        await mine.ok("conversation:delete", conversation_id=first)
        for tab in (mine, elsewhere):
            assert await usage_of(tab) == used(4, 190)
            refused = await tab.refusal("user:usage", conversation_id=first)
            assert refused["code"] == "not_found"
        async with Client(there.url) as stranger:
            assert await usage_of(stranger) == used(0, 0)
            theirs = await stranger.refusal("user:usage", conversation_id=where)
            assert theirs == await stranger.refusal("user:usage", conversation_id="nowhere")
        assert (await mine.ok("user:usage"))["budget"] is None


async def titles(client: Client) -> list[tuple[str, str]]:
    """Of all conversations. (When they were last active is noted after the end of an answer is
    told.)"""
    listed = (await client.ok("conversation:list"))["conversations"]
    return [(each["id"], each["title"]) for each in listed]


async def check_a_used_up_budget(client: Client, ended: dict[str, Any]) -> None:
    """What is refused beyond it, and what is not."""
    conversation_id = ended["conversation_id"]
    [asked, *_] = await client.transcript(conversation_id)
    where = {"conversation_id": conversation_id}
    edit = {"message_id": asked["id"], "new_message_id": new_id(), "content": "more"}
    again = {"turn_id": ended["turn_id"], "new_turn_id": new_id()}
    for name, fields in (
        ("message:send", {"message_id": new_id(), "content": "more"}),
        ("message:send", {"message_id": new_id(), "content": "more", **where}),
        ("message:edit", {**where, **edit}),
        ("turn:regenerate", {**where, **again}),
    ):
        before = await titles(client)
        refused = await client.refusal(name, **fields)
        assert (refused["code"], refused["retryable"]) == ("rate_limited", True), name
        assert 0 < refused["retry_after"] <= 24 * 3600
        assert "tokens today" in refused["message"]
        assert await titles(client) == before
    assert await client.contents(conversation_id) == [asked["content"], "said"]


async def test_a_user_whose_budget_is_used_up_is_refused_on_every_server(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    budget = {"USER_TOKENS_PER_DAY": "150"}
    here, there = start_app(**shared, **budget), start_app(**shared, **budget)
    uses(provider, 100)
    async with Client(here.url) as mine, Client(there.url, mine.token) as elsewhere:
        await mine.ask("one")
        told = (await mine.ok("user:usage"))["budget"]
        assert (told["limit"], told["used"]) == (150, 100)
        assert told["resets_at"].endswith("T00:00:00.000Z")
        assert told["resets_at"] > datetime.now(UTC).isoformat()
        message_id = new_id()
        sent = await mine.ok("message:send", message_id=message_id, content="two")
        ended = await mine.completed(sent["turn"]["id"])
        await check_a_used_up_budget(mine, ended)
        await check_a_used_up_budget(elsewhere, ended)
        # What was accepted before is answered as ever.
        for tab in (mine, elsewhere):
            repeated = await tab.ok("message:send", message_id=message_id, content="two")
            assert repeated == sent
        assert (await elsewhere.ok("user:usage"))["budget"]["used"] == 200
        async with Client(there.url) as stranger:
            await stranger.ask("hello")
    counted = await measures(here)
    assert counted['mnemosio_budget_refusals_total{budget="user"}'] == 4
    assert counted['mnemosio_budget_refusals_total{budget="together"}'] == 0


async def test_a_budget_is_known_to_the_next_life_of_a_server(
    start_app: StartApp, provider: Provider
) -> None:
    uses(provider, 100)
    app = start_app(**with_provider(provider, USER_TOKENS_PER_DAY="100"))
    async with Client(app.url) as guest:
        ended = await guest.ask("one")
        await check_a_used_up_budget(guest, ended)
    app.kill()
    app.start()
    async with Client(app.url, guest.token) as guest:
        await check_a_used_up_budget(guest, ended)


async def test_all_users_share_a_budget_over_all_servers(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    budget = {"TOKENS_PER_DAY": "500"}
    here, there = start_app(**shared, **budget), start_app(**shared, **budget)
    async with Client(here.url) as one, Client(there.url) as another:
        uses(provider, 10)
        await another.ask("hello")
        uses(provider, 1_000)
        ended = await one.ask("a long one")
        await check_a_used_up_budget(one, ended)
        uses(provider, 10)

        async def is_refused() -> bool:
            answer = await another.call("message:send", {"message_id": new_id(), "content": "x"})
            return not answer["ok"] and answer["error"]["code"] == "rate_limited"

        await wait_until(is_refused, "the other server knows", timeout=8, interval=0.5)
        assert (await one.ok("user:usage"))["budget"] is None
    for app in (here, there):
        assert (await measures(app))['mnemosio_budget_refusals_total{budget="together"}'] >= 1
        assert app.stop() == 0


async def test_while_mongodb_is_away_the_last_known_sum_counts(
    start_app: StartApp, provider: Provider, settings: dict[str, str], own_mongod: Mongod
) -> None:
    uses(provider, 100)
    app = start_app(**settings, USER_TOKENS_PER_DAY="150")
    async with Client(app.url) as mine, Client(app.url) as other:
        ended = await mine.ask("one")
        own_mongod.kill()
        await mine.next_event("server:status")
        where = ended["conversation_id"]
        spooled = await mine.send("two", where)  # it knows of 100
        assert spooled["durability"] == "spooled"
        await mine.completed(spooled["turn"]["id"])
        refused = await mine.refusal(
            "message:send", message_id=new_id(), content="three", conversation_id=where
        )
        assert refused["code"] == "rate_limited"
        assert (await mine.refusal("user:usage"))["code"] == "unavailable"
        assert (await other.send("hello"))["durability"] == "spooled"
        own_mongod.start()
        await wait_until(lambda: mine.all("message:stored"), "it is drained", timeout=30)

        async def is_added_up() -> bool:
            answer = await mine.call("user:usage", {})
            return bool(answer["ok"]) and answer["usage"] == used(2, 200)

        await wait_until(is_added_up, "what was spooled is added up", timeout=15)


async def test_what_is_broken_off_before_its_end_is_paid_for(
    start_app: StartApp, provider: Provider
) -> None:
    """Its provider tells nothing, and the prompt was sent all the same."""
    budget = {"USER_TOKENS_PER_DAY": "1000", "TOKENS_PER_DAY": "1000000"}
    app = start_app(**with_provider(provider, **budget))
    provider.respond = lambda body: Script(["said ", "more"], silent_after=1)
    async with Client(app.url) as client:

        async def broken_off(by: str) -> None:
            sent = await client.send("word " * 600)
            about = sent["conversation_id"]
            await wait_until(
                lambda: [e for e in client.all("turn:delta") if e["conversation_id"] == about],
                "it is being answered",
            )
            if by == "stop":
                await client.stop(about, sent["turn"]["id"])
            else:
                await client.ok("conversation:delete", conversation_id=about)

        async def used() -> int:
            budget: dict[str, int] = (await client.ok("user:usage"))["budget"]
            return budget["used"]

        await broken_off("stop")
        after_one = await used()
        assert 600 < after_one < 900
        await broken_off("delete")
        async with asyncio.timeout(10):
            while await used() < 2 * after_one - 100:
                await asyncio.sleep(0.05)
        refused = await client.refusal("message:send", message_id=new_id(), content="more")
        assert refused["code"] == "rate_limited"
