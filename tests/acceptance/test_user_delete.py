"""All of a user's, deleted by one call: on either store, by several servers, whatever dies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.test_export_import import made_up
from tests.support.app import UNLIMITED, App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

CONFIRM = {"confirm": "delete everything"}


@pytest.fixture(params=["embedded", "mongo"])
def start_one(
    request: pytest.FixtureRequest, start_app: StartApp, provider: Provider, tmp_path: Path
) -> Callable[..., App]:
    """A server on either store; each time with the same data."""
    if request.param == "mongo":
        return lambda **more: start_app(**request.getfixturevalue("shared"), **more)
    return lambda **more: start_app(tmp_path / "data", **with_provider(provider, **more))


async def listed(client: Client) -> list[str]:
    answer = await client.ok("conversation:list", limit=100)
    return [each["id"] for each in answer["conversations"]]


def deleted(client: Client) -> set[str]:
    return {each["conversation_id"] for each in client.all("conversation:deleted")}


async def made(client: Client, count: int) -> set[str]:
    calls = (client.ok("conversation:create", conversation_id=new_id()) for _ in range(count))
    return {answer["conversation"]["id"] for answer in await asyncio.gather(*calls)}


async def test_nothing_is_left_and_the_account_stays(
    start_one: Callable[..., App], provider: Provider
) -> None:
    app = start_one(**UNLIMITED)
    async with Client(app.url) as guest, Client(app.url) as stranger:
        asked = await guest.ask("one")
        theirs = (await stranger.ask("not yours"))["conversation_id"]
        imported = {"conversation_id": new_id(), "document": made_up(3)}
        await guest.ok("conversation:import", **imported)
        empty = await made(guest, 20)
        provider.respond = lambda body: Script(["half"], gate=asyncio.Event())
        running = await guest.send("long")
        await wait_until(
            lambda: guest.all("turn:delta", turn_id=running["turn"]["id"]), "it begins"
        )
        for wrong in ({}, {"confirm": "yes"}, {"confirm": True}, {"confirm": "Delete everything"}):
            refused = await guest.refusal("user:delete", **wrong)
            assert (refused["code"], refused["field"]) == ("invalid", "confirm")
        assert len(await listed(guest)) == 23

        answer = await guest.ok("user:delete", **CONFIRM)
        ids = {asked["conversation_id"], imported["conversation_id"], *empty}
        ids.add(running["conversation_id"])
        assert answer["conversations"] == len(ids) == 23
        assert await listed(guest) == []
        await wait_until(lambda: deleted(guest) == ids, "each is told")
        await wait_until(lambda: provider.open_streams == 0, "nobody answers any more")
        for conversation_id in (asked["conversation_id"], imported["conversation_id"]):
            for name in ("conversation:open", "conversation:history", "conversation:export"):
                refused = await guest.refusal(name, conversation_id=conversation_id)
                assert refused["code"] == "not_found"
        refused = await guest.refusal("conversation:import", **imported)
        assert refused["code"] == "not_found"
        assert (await guest.ok("user:delete", **CONFIRM))["conversations"] == 0

        # Another user's is another user's; and the guest begins anew.
        assert await stranger.contents(theirs) == ["not yours", "echo: not yours"]
        assert deleted(stranger) == set()
        provider.respond = lambda body: Script(["welcome back"])
        async with Client(app.url, guest.token) as again:
            assert again.session["user_id"] == guest.session["user_id"]
            fresh = await again.ask("hello again")
            assert await listed(again) == [fresh["conversation_id"]]
            assert provider.chats[-1].texts[-1] == "hello again"
            assert "one" not in provider.chats[-1].texts


async def test_no_word_is_left_in_the_store(
    start_app: StartApp, shared: dict[str, str], mongod: Mongod
) -> None:
    app = start_app(**shared)
    async with Client(app.url) as guest:
        secret = f"secret{uuid.uuid4().hex}"
        await guest.ask(secret)
        await guest.ok("user:delete", **CONFIRM)

        def left() -> list[str]:
            with mongod.client() as client:
                database = client[shared["MONGODB_DATABASE"]]
                return [
                    name
                    for name in database.list_collection_names()
                    if any(secret in str(each) for each in database[name].find())
                ]

        await wait_until(lambda: not left(), "it is purged")
        with mongod.client() as client:
            assert client[shared["MONGODB_DATABASE"]]["erasures"].count_documents({}) == 0


async def test_two_servers_and_tabs_that_ask_at_once_delete_each_conversation_once(
    two: tuple[App, App],
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        ids = await made(guest, 40)
        answers = await asyncio.gather(
            *(each.ok("user:delete", **CONFIRM) for each in (guest, tab, guest))
        )
        assert max(answer["conversations"] for answer in answers) <= 40
        assert await listed(guest) == await listed(tab) == []
        for each in (guest, tab):
            await wait_until(lambda each=each: deleted(each) == ids, "each is told in both tabs")


async def test_what_another_tab_begins_meanwhile_stays(two: tuple[App, App]) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        before = await made(guest, 60)
        erasing = asyncio.create_task(guest.ok("user:delete", **CONFIRM))
        await wait_until(lambda: deleted(tab), "it has begun", interval=0.001)
        said = await tab.ask("in the middle of it")
        await erasing
        assert deleted(tab) == before
        assert await listed(guest) == [said["conversation_id"]]
        assert len(await tab.contents(said["conversation_id"])) == 2


async def test_it_is_gone_on_with_after_its_server_was_killed(
    start_one: Callable[..., App],
) -> None:
    app = start_one(**UNLIMITED)
    guest = await Client(app.url).connect()
    ids: set[str] = set()
    for _ in range(6):
        ids |= await made(guest, 100)
    asking = asyncio.create_task(guest.call("user:delete", CONFIRM))
    await wait_until(lambda: deleted(guest), "it has begun", interval=0.001)
    app.kill()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert len(deleted(guest)) < len(ids)
    app.start()
    async with Client(app.url, guest.token) as tab:

        async def none() -> bool:
            return not await listed(tab)

        await wait_until(none, "the rest is deleted", timeout=30, interval=0.2)
        fresh = await tab.ask("hello again")
        assert await listed(tab) == [fresh["conversation_id"]]
        # The mark is gone: what was made from old documents is safe.
        imported = {"conversation_id": new_id(), "document": made_up(1)}

        async def taken() -> Any:
            return (await tab.call("conversation:import", imported))["ok"]

        await wait_until(taken, "documents are taken in again", timeout=30)
        assert set(await listed(tab)) == {fresh["conversation_id"], imported["conversation_id"]}


async def test_without_the_store_nothing_is_deleted_and_it_is_said(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, own_mongod: Mongod
) -> None:
    settings = with_provider(provider, REDIS_URL=redis_server.url, MONGODB_URI=own_mongod.uri)
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        sent = await guest.send("two", conversation_id)
        await guest.completed(sent["turn"]["id"])
        refused = await guest.refusal("user:delete", **CONFIRM)
        assert (refused["code"], refused["retryable"]) == ("unavailable", True)
        own_mongod.start()

        async def gone() -> bool:
            await guest.call("user:delete", CONFIRM)
            answer = await guest.call("conversation:list", {})
            return bool(answer["ok"] and not answer["conversations"])

        await wait_until(gone, "all of it is deleted", timeout=20)
        await asyncio.sleep(1.5)  # what is drained from the spool meanwhile
        assert await listed(guest) == []
