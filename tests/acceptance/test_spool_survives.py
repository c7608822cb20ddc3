"""What is in the spool outlives the server, its disk's moods, and both stores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.outages import a_full_disk, stored, told_stored
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


def spool_of(app: App) -> Path:
    [spool] = (app.data_dir / "slots").glob("*/spool.db")
    return spool


@pytest.mark.parametrize("back", ["before", "after"])
async def test_a_killed_servers_spool_is_drained_when_it_is_back(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, back: str, provider: Provider
) -> None:
    """The store is back before the server is, or after."""
    app = start_app(**settings)
    guest = await Client(app.url).connect()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    own_mongod.kill()
    await guest.ask("two", conversation_id)
    third = await guest.send("three", conversation_id)
    await guest.completed(third["turn"]["id"])
    app.kill()
    if back == "before":
        own_mongod.start()
    app.start()
    said = ["one", "echo: one", "two", "echo: two", "three", "echo: three"]
    async with Client(app.url, guest.token) as again:
        shown = await again.open(conversation_id)
        assert [each["content"] for each in shown["messages"]] == said
        if back == "after":
            repeated = await again.send("three", conversation_id, message_id=third["message"]["id"])
            assert repeated["turn"] == third["turn"]
            assert repeated["durability"] == "spooled"
            await again.ask("four", conversation_id)
            said += ["four", "echo: four"]
            own_mongod.start()
        await stored(again, conversation_id, said)
        assert len(provider.requests) == len(said) // 2
    await guest.close()


async def test_an_answer_that_a_killed_server_was_spooling_is_made_when_it_is_back(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(5), gate=gate, gate_after=3)
    app = start_app(**settings)
    guest = await Client(app.url).connect()
    own_mongod.kill()
    sent = await guest.send("tell me")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    app.kill()
    gate.set()
    app.start()
    async with Client(app.url, guest.token) as again:
        story = Story(sent["conversation_id"])
        await story.open(again)
        await story.shows(["tell me", "".join(words(5))], timeout=15)
        own_mongod.start()
        await stored(again, sent["conversation_id"], ["tell me", "".join(words(5))])
    await guest.close()


async def test_what_a_crash_left_half_written_at_the_spools_end_is_dropped(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    guest = await Client(app.url).connect()
    own_mongod.kill()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    await guest.ask("two", conversation_id)
    spool = spool_of(app)
    app.kill()
    log = spool.with_name(spool.name + "-wal")
    whole = log.read_bytes()
    assert whole
    # Half a frame of the log, as of a write that was on its way: nobody was told that it is kept.
    with log.open("ab") as file:
        file.write(whole[-2_000:-700])
    app.start()
    own_mongod.start()
    async with Client(app.url, guest.token) as again:
        await stored(again, conversation_id, ["one", "echo: one", "two", "echo: two"])
    await guest.close()


async def test_a_killed_servers_spool_is_drained_by_another_of_its_host(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, tmp_path: Path
) -> None:
    first = start_app(tmp_path / "host", **settings)
    second = start_app(tmp_path / "host", **settings)
    guest = await Client(first.url).connect()
    own_mongod.kill()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    first.kill()
    own_mongod.start()
    async with Client(second.url, guest.token) as again:
        await stored(again, conversation_id, ["one", "echo: one"])
    await guest.close()


async def test_what_neither_store_nor_spool_can_keep_is_refused_and_sent_again(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        await guest.ask("two", conversation_id)
        with a_full_disk(app):
            message_id = new_id()
            message = {
                "conversation_id": conversation_id,
                "message_id": message_id,
                "content": "x" * 50_000,
            }
            refused = None
            for _ in range(40):  # until its log has no room
                answer = await guest.call("message:send", message | {"message_id": new_id()})
                if not answer["ok"]:
                    refused = answer["error"]
                    break
            assert refused is not None
            assert (refused["code"], refused["retryable"]) == ("unavailable", True)
        sent = await guest.ok("message:send", **message)
        assert sent["durability"] == "spooled"
        own_mongod.start()
        await told_stored(guest, [message_id])


@pytest.mark.parametrize("order", ["store first", "redis first"])
async def test_both_go_and_come_back_in_either_order(
    start_app: StartApp,
    settings: dict[str, str],
    own_mongod: Mongod,
    redis_server: RedisServer,
    order: str,
    provider: Provider,
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        redis_server.kill()
        story = Story(conversation_id)
        await story.open(guest)
        sent = await guest.send("two", conversation_id)
        assert sent["durability"] == "spooled"
        said = ["one", "echo: one", "two", "echo: two"]
        await story.shows(said)
        begun = await guest.ask("new")
        both = (own_mongod, redis_server)
        for back in both if order == "store first" else both[::-1]:
            back.start()
            await guest.send(f"after {order}", conversation_id)
            said += [f"after {order}", f"echo: after {order}"]
            await story.shows(said)  # by events, or by a snapshot
        await stored(guest, conversation_id, said)
        await stored(guest, begun["conversation_id"], ["new", "echo: new"])
        assert len(provider.requests) == 5
        last = provider.requests[-1].body["messages"]
        assert [each["content"] for each in last if each["role"] != "system"] == said[:7]


@pytest.mark.parametrize("away", ["store", "redis", "both"])
async def test_a_server_starts_with_its_stores_away(
    start_app: StartApp,
    settings: dict[str, str],
    own_mongod: Mongod,
    redis_server: RedisServer,
    away: str,
) -> None:
    if away in ("store", "both"):
        own_mongod.kill()
    if away in ("redis", "both"):
        redis_server.kill()
    del settings["GUEST_SECRET"]
    app = start_app(**settings)
    async with Client(app.url) as guest:
        sent = await guest.send("one")
        assert sent["durability"] == ("permanent" if away == "redis" else "spooled")
        await guest.completed(sent["turn"]["id"])
        if away in ("store", "both"):
            own_mongod.start()
        if away in ("redis", "both"):
            redis_server.start()
        await stored(guest, sent["conversation_id"], ["one", "echo: one"])
        await wait_until(
            lambda: (
                not guest.all("server:status")
                or guest.all("server:status")[-1] == {"memory": "redis", "store": "ok"}
            ),
            "all is well again",
        )
        # Another server knows the guest whom this one let in by a secret of its own.
        other = start_app(**settings)
        async with Client(other.url, guest.token) as elsewhere:
            await stored(elsewhere, sent["conversation_id"], ["one", "echo: one"])
