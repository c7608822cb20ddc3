"""A server whose subscription is dead while its commands work: it notices, says so, and repairs."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client
from tests.support.health import metric, ready
from tests.support.provider import Body, Provider, Script, echo
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.story import Story, words
from tests.support.wait import wait_until

DEAF = "mnemosio_feed_deaf"


def streaming(body: Body) -> Script:
    """An answer of some four seconds to what begins so."""
    if body["messages"][-1]["content"].startswith("long"):
        return Script(words(130), delay=0.03)
    return echo(body)


async def hears_well(app: App) -> bool:
    return (await ready(app))["feed"] == "ok" and await metric(app, DEAF) == 0


async def test_a_frozen_subscription_is_noticed_within_five_seconds_told_and_repaired(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    provider.respond = streaming
    async with RedisWay(redis_server.port) as way:
        here, there = start_app(**shared), start_app(**shared | {"REDIS_URL": way.url})
        async with Client(here.url) as guest, Client(there.url, guest.token) as across:
            conversation_id = (await guest.ask("before"))["conversation_id"]
            story = Story(conversation_id)
            await story.open(across)
            await wait_until(lambda: hears_well(there), "it is well")
            sent = await guest.send("long", conversation_id)
            await story.until(lambda told: told.deltas > 3, "the answer streams")

            async def frozen_and_told() -> bool:
                way.freeze(subscriptions_only=True)  # one that is made anew as well
                told = await ready(there)
                assert told["status"] == 200  # degraded is serving
                return told["feed"] != "ok" and await metric(there, DEAF) == 1

            await wait_until(frozen_and_told, "the server says it is deaf", timeout=5)
            # The other one hears well, and commands work all the time.
            assert await hears_well(here)
            assert (await ready(there))["redis"] == "ok"
            await wait_until(lambda: hears_well(there), "it has repaired itself", timeout=6)
            told = await story.end_of(sent["turn"]["id"])
            assert told.contents == ["before", "echo: before", "long", "".join(words(130))]
            assert told.snapshots == 0
            # What it sends itself, and what comes from the other one, is heard again at once.
            for tab in (across, guest):
                asked = await tab.ask("after", conversation_id)
                await story.end_of(asked["turn_id"], timeout=2)
            assert story.told.snapshots == 0


async def test_a_reader_is_told_what_happened_while_its_server_was_deaf_though_it_is_over(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    async with RedisWay(redis_server.port) as way:
        here, there = start_app(**shared), start_app(**shared | {"REDIS_URL": way.url})
        async with Client(here.url) as guest, Client(there.url, guest.token) as across:
            conversation_id = (await guest.ask("before"))["conversation_id"]
            story = Story(conversation_id)
            await story.open(across)
            way.freeze(subscriptions_only=True)
            # All of it happens, and then nothing more: no later event shows that one is missing.
            asked = await guest.ask("while you were deaf", conversation_id)
            told = await story.end_of(asked["turn_id"], timeout=8)
            assert told.snapshots == 0
            await wait_until(lambda: hears_well(there), "it has repaired itself", timeout=6)
            # What was held up on the frozen connection comes late, and is told to nobody again.
            way.thaw()
            asked = await guest.ask("after", conversation_id)
            told = await story.end_of(asked["turn_id"])
            assert (len(told.contents), told.snapshots) == (6, 0)


@pytest.mark.parametrize("fault", ["pubsub", "normal", "overflowed"])
async def test_a_connection_that_redis_ends_is_made_anew_and_nothing_is_missed(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer, fault: str
) -> None:
    provider.respond = streaming
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("before"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        sent = await guest.send("long", conversation_id)
        for story in stories:
            await story.until(lambda told: told.deltas > 3, "the answer streams")
        if fault != "overflowed":
            for _ in range(3):
                killed = redis_command(redis_server, "CLIENT", "KILL", "TYPE", fault)
                assert killed >= 1
                for story in stories:
                    deltas = story.told.deltas
                    await story.until(
                        lambda told, deltas=deltas: told.deltas > deltas + 5, "it streams on"
                    )
        else:
            limit = "client-output-buffer-limit"
            redis_command(redis_server, "CONFIG", "SET", limit, "pubsub 1 1 1")
            # More than fits the buffer that is not counted: whoever hears of it is cut off.
            large = await across.send("x" * 90_000, conversation_id)
            for story in stories:
                await story.until(
                    lambda told: large["message"]["id"] in {m["id"] for m in told.messages},
                    "the large message is told",
                )
            redis_command(redis_server, "CONFIG", "SET", limit, "pubsub 33554432 8388608 60")
            await across.stop(conversation_id, large["turn"]["id"])
        for story in stories:
            told = await story.end_of(sent["turn"]["id"])
            assert told.contents[:4] == ["before", "echo: before", "long", "".join(words(130))]
            assert told.snapshots == 0
        for app in two:
            await wait_until(lambda app=app: hears_well(app), "it hears well", timeout=6)
        asked = await across.ask("after", conversation_id)
        for story in stories:
            await story.end_of(asked["turn_id"], timeout=3)
        assert guest.feed(conversation_id)[-4:] == across.feed(conversation_id)[-4:]
        assert stories[1].told.snapshots == 0


async def test_a_server_without_redis_is_not_deaf(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    app = start_app(**shared)
    await wait_until(lambda: hears_well(app), "it is well")
    redis_server.kill()

    async def away() -> bool:
        return str((await ready(app))["redis"]).startswith("away")

    await wait_until(away, "Redis is away")
    async with Client(app.url) as guest:
        await guest.ask("without Redis")
        assert (await ready(app))["status"] == 200
        redis_server.start()
        await wait_until(lambda: hears_well(app), "it is well again")
        await asyncio.gather(*(guest.ask(f"again {number}") for number in range(3)))
