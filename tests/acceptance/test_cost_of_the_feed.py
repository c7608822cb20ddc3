"""What the feed leaves in Redis and sends over the wire, and to whom: no more than it must."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest
import redis

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import UNLIMITED, App
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.story import Story, words
from tests.support.wait import wait_until

SECRET = "a secret of the tests, and long enough for one"


def keys_without_end(server: RedisServer) -> list[str]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return [key for key in client.scan_iter() if client.ttl(key) == -1]


async def test_every_key_in_redis_ends_by_itself(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate, delay=0.5)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        sent = await guest.send("one")
        conversation_id = sent["conversation_id"]
        await across.open(conversation_id)
        waiting = await across.send("two", conversation_id)
        await wait_until(lambda: across.all("turn:delta"), "the answer streams")
        assert int(redis_command(redis_server, "DBSIZE")) > 3
        assert keys_without_end(redis_server) == []
        await across.stop(conversation_id, waiting["turn"]["id"])
        gate.set()
        await across.completed(sent["turn"]["id"])
        await guest.ok("conversation:rename", conversation_id=conversation_id, title="Renamed")
        assert keys_without_end(redis_server) == []
        await across.ok("conversation:delete", conversation_id=conversation_id)
        assert redis_command(redis_server, "KEYS", f"*{conversation_id}*") == []
        assert keys_without_end(redis_server) == []


async def test_a_server_hears_only_what_somebody_follows_there_and_each_word_once(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    provider.respond = lambda body: Script(["y" * 999 + " "] * 200, delay=0.005)
    size = 200_000
    async with RedisWay(redis_server.port) as way:
        here, there = start_app(**shared), start_app(**shared | {"REDIS_URL": way.url})
        async with Client(here.url) as guest:
            sent = await guest.send("unwatched")
            readers = [await Client(there.url, guest.token).connect() for _ in range(3)]
            before = way.heard
            await guest.completed(sent["turn"]["id"])
            assert way.heard - before < size / 10
            conversation_id = sent["conversation_id"]
            for reader in readers:
                await reader.open(conversation_id)
            before = way.heard
            sent = await guest.send("watched", conversation_id)
            for reader in readers:
                told = (
                    await Story(conversation_id)
                    .on(reader)
                    .until(
                        lambda told: any(
                            name == "turn:completed" for name, _ in told.ended.values()
                        ),
                        "the answer is told",
                        timeout=20,
                    )
                )
                del told
            # The text once as it streams, once whole at its end; whoever and however many read it.
            assert size < way.heard - before < 4 * size
            deltas = readers[0].all("turn:delta", turn_id=sent["turn"]["id"])
            assert len(deltas) > 10
            assert sum(len(json.dumps(delta)) for delta in deltas) < size + 500 * len(deltas)
            for reader in readers:
                await reader.close()


async def test_no_subscription_outlives_those_who_followed(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    def channels() -> int:
        kinds = ("CHANNELS", "SHARDCHANNELS")
        return sum(len(redis_command(redis_server, "PUBSUB", kind)) for kind in kinds)

    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        before = channels()
        made = await asyncio.gather(*(guest.ok("conversation:create") for _ in range(40)))
        ids = [each["conversation"]["id"] for each in made]
        leaving = [await Client(app.url, guest.token).connect() for app in two for _ in range(2)]
        for tab in (across, *leaving):
            await asyncio.gather(*(tab.open(each) for each in ids))
        await guest.ask("one of them", ids[0])
        assert channels() > before
        for each in ids:
            await across.ok("conversation:close", conversation_id=each)
        await leaving[0].close()
        for tab in leaving[1:]:
            await tab.vanish()
        await guest.ok("conversation:close", conversation_id=ids[0])
        await wait_until(lambda: channels() <= before, "all are given up", timeout=20)
        await across.ask("still here?", ids[0])


async def test_what_a_later_version_has_added_to_a_record_breaks_nobody(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    mongod: Mongod,
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
    dying, other = start_app(**shared), start_app(**shared)
    guest = await Client(dying.url).connect()
    async with Client(other.url, guest.token) as across:
        sent = await guest.send("one")
        conversation_id = sent["conversation_id"]
        waiting = await guest.send("two", conversation_id)
        story = Story(conversation_id)
        await story.open(across)
        await story.until(lambda told: told.text(sent["turn"]["id"]), "the answer streams")
        added: dict[str, Any] = {"from_a_later_version": {"list": [1], "text": "x"}}
        with mongod.client() as client:
            database = client[shared["MONGODB_DATABASE"]]
            for name in ("turns", "conversations"):
                assert database[name].update_many({}, {"$set": added}).modified_count >= 1
        dying.kill()
        redis_command(redis_server, "FLUSHALL")
        gate.set()
        now = ["one", "half whole", "two", "half whole"]
        await story.shows(now)
        assert await across.contents(conversation_id) == now
        call = {"conversation_id": conversation_id, "title": "Renamed"}
        await across.ok("conversation:rename", **call)
        stopped = await across.stop(conversation_id, waiting["turn"]["id"])
        assert stopped["status"] == "completed"
        await across.ask("three", conversation_id)
        with mongod.client() as client:
            turns = client[shared["MONGODB_DATABASE"]]["turns"]
            assert turns.count_documents(added) == 2
    await guest.close()


async def test_a_cursor_opens_nothing_to_another_user(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(words(20), delay=0.03)
    settings = shared | {"AUTH_JWT_SECRET": SECRET}
    here, there = start_app(**settings), start_app(**settings)
    ada, bob = (jwt.encode({"sub": name}, SECRET, "HS256") for name in ("ada", "bob"))
    async with Client(here.url, ada) as tab, Client(there.url, bob) as other:
        sent = await tab.send("mine")
        conversation_id = sent["conversation_id"]
        await wait_until(lambda: tab.all("turn:delta"), "the answer streams")
        cursor = tab.all("turn:delta")[0]["cursor"]
        call = {"conversation_id": conversation_id, "after": cursor}
        assert (await other.refusal("conversation:open", **call))["code"] == "not_found"
        # A tab of hers that comes back as somebody else, with what it knew.
        tab.token = bob
        await tab.vanish()
        await tab.connect()
        await wait_until(lambda: tab.session["user_id"] == "bob", "it is somebody else")
        heard = len(tab.feed(conversation_id))
        assert (await tab.refusal("conversation:open", **call))["code"] == "not_found"
        async with Client(there.url, ada) as back:
            story = Story(conversation_id)
            await story.open(back)
            await story.shows(["mine", "".join(words(20))])
        assert len(tab.feed(conversation_id)) == heard
        assert other.feed(conversation_id) == []


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_cursor_older_than_the_log_gets_a_snapshot_and_the_log_stays_bounded(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    off = {"MAX_QUEUED_TURNS": "0", "TURN_IDLE_TIMEOUT_SECONDS": "0"} | UNLIMITED
    settings = shared | off
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        story = Story(conversation_id).on(guest)
        await story.until(lambda told: told.deltas, "the answer begins")
        sizes: list[int] = []
        for _ in range(40):
            waiting = await asyncio.gather(
                *(guest.send(f"waiting {number}", conversation_id) for number in range(50))
            )
            await asyncio.gather(
                *(guest.stop(conversation_id, each["turn"]["id"]) for each in waiting)
            )
            names = redis_command(redis_server, "KEYS", f"*{conversation_id}*")
            sizes.append(
                sum(int(redis_command(redis_server, "MEMORY", "USAGE", name)) for name in names)
            )
        cursors = [payload["cursor"] for _, payload in guest.feed(conversation_id)]
        assert len(cursors) > 6000
        assert sizes[-1] < 1.5 * sizes[-20]
        gate.set()
        await guest.completed(first["turn"]["id"])
        seen = set[str]()
        async with Client(there.url, guest.token) as tab:
            for cursor in cursors[::600]:
                opened = await tab.open(conversation_id, cursor)
                seen.add(opened["recovery"])
                if opened["recovery"] == "replayed":
                    rest = guest.feed(conversation_id)[cursors.index(cursor) + 1 :]
                    await wait_until(
                        lambda rest=rest: len(tab.feed(conversation_id)) >= len(rest), "it comes"
                    )
                    assert tab.feed(conversation_id) == rest
                await tab.ok("conversation:close", conversation_id=conversation_id)
                tab.events.clear()
        assert seen == {"snapshot", "replayed"}
