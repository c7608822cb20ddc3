"""What happens at the same moment: tabs, opens, stops, deletions and outages in mid-answer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

Feed = list[tuple[str, dict[str, Any]]]


def words(count: int) -> list[str]:
    return [f"word{number} " for number in range(count)]


async def test_tabs_that_send_at_once_see_one_order(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, MAX_QUEUED_TURNS="0"))
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        tabs = [await Client(app.url, guest.token).connect() for _ in range(3)]
        for tab in tabs:
            await tab.ok("conversation:open", conversation_id=conversation_id)
        sent = await asyncio.gather(
            *(
                tab.send(f"{place}.{n}", conversation_id)
                for n in range(8)
                for place, tab in enumerate(tabs)
            )
        )
        last = max(sent, key=lambda each: each["message"]["seq"])
        for tab in tabs:
            await tab.completed(last["turn"]["id"])
        assert sorted(each["message"]["seq"] for each in sent) == list(range(3, 51, 2))
        feeds = [tab.feed(conversation_id) for tab in tabs]
        assert feeds[0] == feeds[1] == feeds[2]
        created = [each["message"]["seq"] for name, each in feeds[0] if name == "message:created"]
        assert created == list(range(3, 51, 2))
        numbers = [int(each["cursor"].split("-")[1]) for _, each in feeds[0]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for place, _ in enumerate(tabs):
            mine = [m["message"]["content"] for name, m in feeds[0] if name == "message:created"]
            assert [each for each in mine if each.startswith(f"{place}.")] == [
                f"{place}.{n}" for n in range(8)
            ]
        for request in provider.chats:
            assert len(set(request.texts)) == len(request.texts)
        for tab in tabs:
            await tab.close()


async def test_opening_and_closing_while_an_answer_streams_loses_and_doubles_nothing(
    start_app: StartApp, provider: Provider
) -> None:
    provider.respond = lambda body: Script(words(150), delay=0.01)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as tab:
        sent = await guest.send("tell me")
        call = {"conversation_id": sent["conversation_id"]}
        text, index = "", 0
        cursor: str | None = None
        dice = random.Random(7)
        while not tab.all("turn:completed"):
            tab.events.clear()
            opening: dict[str, Any] = await tab.ok("conversation:open", **call, after=cursor)
            if opening["recovery"] == "snapshot":
                assert cursor is None
                [live] = opening["turns"]
                text, index = live["text"], live["next_index"]
                cursor = opening["cursor"]
            await asyncio.sleep(dice.random() * 0.1)
            await tab.ok("conversation:close", **call)
            for name, payload in tab.feed(sent["conversation_id"]):
                assert cursor is not None
                assert int(payload["cursor"].split("-")[1]) == int(cursor.split("-")[1]) + 1
                cursor = payload["cursor"]
                if name == "turn:delta":
                    assert payload["index"] == index
                    text, index = text + payload["text"], index + 1
        completed = await guest.completed(sent["turn"]["id"])
        assert text == completed["message"]["content"] == "".join(words(150))


async def test_an_open_that_meets_the_end_of_the_answer_shows_it_once(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as tab:
        conversation_id = None
        for number in range(25):
            sent = await guest.send(f"question {number}", conversation_id)
            conversation_id = sent["conversation_id"]
            await asyncio.sleep(number * 0.002)
            tab.events.clear()
            opened = await tab.ok("conversation:open", conversation_id=conversation_id)
            turn_id = sent["turn"]["id"]
            await guest.completed(turn_id)
            shown = [message["seq"] for message in opened["messages"]]
            if opened["turns"]:
                await tab.completed(turn_id)
            else:
                assert tab.all("turn:completed", "turn:delta") == []
            shown += [end["message"]["seq"] for end in tab.all("turn:completed")]
            assert shown[-2:] == [2 * number + 1, 2 * number + 2]
            await tab.ok("conversation:close", conversation_id=conversation_id)


async def test_a_stop_that_meets_the_end_tells_how_it_ended(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as tab:
        conversation_id = None
        for number in range(25):
            sent = await guest.send("one two three four", conversation_id)
            conversation_id = sent["conversation_id"]
            turn_id = sent["turn"]["id"]
            await asyncio.sleep(number * 0.001)
            call = {"conversation_id": conversation_id, "turn_id": turn_id}
            stopped, again = await asyncio.gather(
                guest.ok("turn:stop", **call), tab.ok("turn:stop", **call)
            )
            name, _ = await guest.ended(turn_id)
            assert name == f"turn:{stopped['turn']['status']}" == f"turn:{again['turn']['status']}"
            ends = guest.all("turn:completed", "turn:stopped", "turn:failed", turn_id=turn_id)
            assert len(ends) == 1


async def test_two_interrupts_at_once_leave_one_answer_and_every_question(
    start_app: StartApp, provider: Provider
) -> None:
    provider.respond = lambda body: (
        Script(["fine"])
        if "urgent" in body["messages"][-1]["content"]
        else Script(["half ", "never"], gate=asyncio.Event())
    )
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as tab:
        first = await guest.send("begin")
        conversation_id = first["conversation_id"]
        await guest.send("wait", conversation_id)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        urgent = await asyncio.gather(
            guest.send("urgent 1", conversation_id, if_busy="interrupt"),
            tab.send("urgent 2", conversation_id, if_busy="interrupt"),
        )
        last = max(urgent, key=lambda each: each["message"]["seq"])
        await guest.completed(last["turn"]["id"])
        history = await guest.ok("conversation:history", conversation_id=conversation_id)
        messages = [(m["seq"], m["status"]) for m in history["messages"]]
        assert messages[:3] == [(1, "complete"), (2, "stopped"), (3, "complete")]
        assert messages[-1] == (8, "complete")
        opened = await guest.ok("conversation:open", conversation_id=conversation_id)
        assert opened["turns"] == []


async def test_a_deletion_in_mid_answer_ends_it_and_what_waits_for_good(
    start_app: StartApp, provider: Provider
) -> None:
    provider.respond = lambda body: Script(words(1000), delay=0.01)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as tab:
        for number in range(8):
            sent = await guest.send("tell me")
            call = {"conversation_id": sent["conversation_id"]}
            await guest.send("and then", sent["conversation_id"])
            await asyncio.sleep(number * 0.01)
            opened, deleted, late = await asyncio.gather(
                tab.call("conversation:open", call),
                guest.call("conversation:delete", call),
                tab.call("message:send", {"message_id": new_id(), "content": "late", **call}),
            )
            assert deleted["ok"]
            assert opened["ok"] or opened["error"]["code"] == "not_found"
            assert late["ok"] or late["error"]["code"] == "not_found"
        await wait_until(lambda: provider.open_streams == 0, "nothing is answered any more")
        assert (await guest.ok("conversation:list"))["conversations"] == []
        asked = len(provider.chats)
        provider.respond = lambda body: Script(["fine"])
        await guest.ask("still here?")
        assert len(provider.chats) == asked + 1


@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied"])
async def test_an_answer_goes_on_while_redis_is(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, fault: str
) -> None:
    gate = asyncio.Event()
    app = start_app(**with_provider(provider, REDIS_URL=redis_server.url))
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("before"))["conversation_id"]
        provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
        sent = await guest.send("tell me", conversation_id)
        await wait_until(lambda: guest.all("turn:delta", turn_id=sent["turn"]["id"]), "it begins")
        if fault == "killed":
            redis_server.kill()
        elif fault == "frozen":
            redis_server.freeze()
        else:
            redis_command(redis_server, "FLUSHALL")
        gate.set()
        completed = await guest.completed(sent["turn"]["id"])
        assert completed["message"]["content"] == "half whole"
        await guest.ask("meanwhile", conversation_id)
        if fault == "killed":
            redis_server.start()
        elif fault == "frozen":
            redis_server.thaw()
        await wait_until(
            lambda: (
                not guest.all("server:status")
                or guest.all("server:status")[-1]["memory"] == "redis"
            ),
            "Redis is in use",
        )
        await guest.ask("after", conversation_id)
        assert provider.chats[-1].texts[1:] == [
            *("before", "echo: before", "tell me", "half whole"),
            *("meanwhile", "half whole", "after"),
        ]


@pytest.mark.parametrize("both", [False, True], ids=["MongoDB", "MongoDB and Redis"])
async def test_an_answer_is_kept_and_told_when_the_store_is_killed_in_the_middle_of_it(
    start_app: StartApp,
    provider: Provider,
    redis_server: RedisServer,
    mongod: Mongod,
    both: bool,
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: (
        Script(["half ", "whole"], gate=gate)
        if body["messages"][-1]["content"] == "tell me"
        else Script(["next"])
    )
    app = start_app(
        **with_provider(
            provider,
            REDIS_URL=redis_server.url,
            MONGODB_URI=mongod.uri,
            MONGODB_DATABASE=f"races_{both}",
            TURN_LEASE_SECONDS="2",
        )
    )
    async with Client(app.url) as guest:
        sent = await guest.send("tell me")
        conversation_id = sent["conversation_id"]
        waiting = await guest.send("and then?", conversation_id)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        mongod.kill()
        if both:
            redis_server.kill()
        call = {"message_id": "while away", "content": "while away"}
        late = await guest.ok("message:send", **call, conversation_id=conversation_id)
        assert late["durability"] == "spooled"
        gate.set()
        if both:
            redis_server.start()
        mongod.start()
        completed = await guest.completed(sent["turn"]["id"], timeout=20)
        assert completed["message"]["content"] == "half whole"
        await guest.completed(waiting["turn"]["id"], timeout=20)

        await guest.completed(late["turn"]["id"], timeout=20)
        await wait_until(
            lambda: guest.all("server:status")[-1] == {"memory": "redis", "store": "ok"},
            "both are back",
            timeout=20,
        )
        history = await guest.ok("conversation:history", conversation_id=conversation_id)
        assert [m["content"] for m in history["messages"]] == [
            *("tell me", "half whole", "and then?", "next", "while away", "next")
        ]
        assert provider.chats[-1].texts[1:] == [m["content"] for m in history["messages"]][:-1]
        opened = await guest.ok("conversation:open", conversation_id=conversation_id)
        assert opened["messages"] == history["messages"]
