"""Tabs and devices of one user, on several servers: one feed for all of them, one list."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until

Feed = list[tuple[str, dict[str, Any]]]


async def same_feeds(tabs: list[Client], conversation_id: str, events: int) -> Feed:
    """What all tabs were told, once each was told so many events."""
    for tab in tabs:
        await wait_until(
            lambda tab=tab: len(tab.feed(conversation_id)) >= events, "it has heard everything"
        )
    feeds = [tab.feed(conversation_id) for tab in tabs]
    assert all(feed == feeds[0] for feed in feeds), feeds
    return feeds[0]


async def test_tabs_on_two_servers_see_the_same_events_with_the_same_cursors_in_the_same_order(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    scripts = [Script(words(20), gate=gate, delay=0.02)]
    provider.respond = lambda body: scripts.pop() if scripts else Script(["later"])
    here, there = two
    async with (
        Client(here.url) as guest,
        Client(here.url, guest.token) as beside,
        Client(there.url, guest.token) as across,
        Client(there.url, guest.token) as further,
    ):
        made = await guest.ok("conversation:create", conversation_id=new_id(), title="Tabs")
        conversation_id = made["conversation"]["id"]
        tabs = [guest, beside, across, further]
        for tab in tabs:
            assert (await tab.open(conversation_id))["messages"] == []
        running = await guest.send("running", conversation_id)
        stopped = await across.send("stopped while it waits", conversation_id)
        answered = await further.send("answered", conversation_id)
        await beside.stop(conversation_id, stopped["turn"]["id"])
        gate.set()
        for tab in tabs:
            await tab.completed(answered["turn"]["id"])
        feed = await same_feeds(tabs, conversation_id, len(guest.feed(conversation_id)))
        cursors = [payload["cursor"] for _, payload in feed]
        assert len(set(cursors)) == len(cursors)
        names = [name for name, _ in feed if name != "turn:delta"]
        assert names[:2] == ["message:created", "turn:started"]
        assert sorted(names[2:]) == sorted(
            [
                *("message:created", "turn:queued", "turn:stopped"),
                *("message:created", "turn:queued", "turn:started", "turn:completed"),
                "turn:completed",
            ]
        )
        ends = {
            payload["turn_id"]: name
            for name, payload in feed
            if name in ("turn:completed", "turn:stopped")
        }
        assert ends == {
            running["turn"]["id"]: "turn:completed",
            stopped["turn"]["id"]: "turn:stopped",
            answered["turn"]["id"]: "turn:completed",
        }
        queued = [payload["turn_id"] for name, payload in feed if name == "turn:queued"]
        assert queued == [stopped["turn"]["id"], answered["turn"]["id"]]
        assert Story(conversation_id).on(further).told.contents == [
            *("running", "".join(words(20)), "stopped while it waits", "answered", "later"),
        ]


async def test_messages_from_tabs_on_both_servers_at_once_are_told_in_one_order(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    settings = shared | {"MAX_QUEUED_TURNS": "0"}
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ok("conversation:create"))["conversation"]["id"]
        for tab in (guest, across):
            await tab.open(conversation_id)
        sent = await asyncio.gather(
            *(
                tab.send(f"{place}.{number}", conversation_id)
                for number in range(12)
                for place, tab in enumerate((guest, across))
            )
        )
        last = max(sent, key=lambda each: each["message"]["seq"])
        stories = [Story(conversation_id).on(tab) for tab in (guest, across)]
        for story in stories:
            await story.end_of(last["turn"]["id"], timeout=30)
        feed = await same_feeds([guest, across], conversation_id, len(guest.feed(conversation_id)))
        created = [payload["message"] for name, payload in feed if name == "message:created"]
        assert [message["seq"] for message in created] == list(range(1, 48, 2))
        for place in range(2):
            mine = [m["content"] for m in created if m["content"].startswith(f"{place}.")]
            assert mine == [f"{place}.{number}" for number in range(12)]
        started = [payload["turn_id"] for name, payload in feed if name == "turn:started"]
        assert started == [message["turn_id"] for message in created]
        # One at a time, and each prompt has exactly what came before.
        transcript = await across.contents(conversation_id)
        asked = sorted(provider.chats, key=lambda request: len(request.texts))
        assert [request.texts[1:] for request in asked] == [
            transcript[: 2 * n + 1] for n in range(24)
        ]


async def test_the_list_of_conversations_stays_live_in_tabs_on_all_servers(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with (
        Client(here.url) as guest,
        Client(there.url, guest.token) as across,
        Client(there.url) as stranger,
    ):
        made = (await guest.ok("conversation:create", conversation_id=new_id()))["conversation"]
        told = await across.next_event("conversation:created")
        assert told == {"conversation": made}
        await guest.ask("How do I boil an egg?", made["id"])
        updated = await across.next_event("conversation:updated")
        assert updated["conversation"]["title"] == "How do I boil an egg?"
        renamed = await across.ok("conversation:rename", conversation_id=made["id"], title="Eggs")
        await wait_until(
            lambda: (
                guest.all("conversation:updated")[-1:]
                == [{"conversation": renamed["conversation"]}]
            ),
            "the new title comes",
        )
        begun = await across.send("begun by a message")
        await wait_until(
            lambda: (
                [each["conversation"]["id"] for each in guest.all("conversation:created")]
                == [made["id"], begun["conversation_id"]]
            ),
            "the other conversation comes",
        )
        await guest.ok("conversation:delete", conversation_id=made["id"])
        for tab in (guest, across):
            told = await tab.next_event("conversation:deleted")
            assert told == {"conversation_id": made["id"]}
        await across.completed(begun["turn"]["id"])
        # Nothing of all that is for anybody else, and nothing of it came twice.
        assert [name for name, _ in stranger.events] == ["session"]
        for tab in (guest, across):
            assert len(tab.all("conversation:created")) == 2
            assert len(tab.all("conversation:deleted")) == 1
            assert len(tab.all("conversation:updated")) == 2


async def test_a_conversation_deleted_on_another_server_in_mid_answer_ends_for_everybody(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer, mongod: Mongod
) -> None:
    provider.respond = lambda body: Script(words(1000), delay=0.02)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        sent = await guest.send("unmistakable")
        conversation_id = sent["conversation_id"]
        await guest.send("and then?", conversation_id)
        await across.open(conversation_id)
        await wait_until(lambda: across.all("turn:delta"), "the answer streams on both")
        await across.ok("conversation:delete", conversation_id=conversation_id)
        await wait_until(lambda: not provider.open_streams, "the provider is let go", timeout=2)
        for tab in (guest, across):
            await tab.next_event("conversation:deleted")
            refused = await tab.refusal("conversation:open", conversation_id=conversation_id)
            assert refused["code"] == "not_found"
            refused = await tab.refusal(
                "message:send", message_id=new_id(), content="x", conversation_id=conversation_id
            )
            assert refused["code"] == "not_found"
        heard = [len(tab.feed(conversation_id)) for tab in (guest, across)]
        provider.respond = lambda body: Script(["fine"])
        for tab in (guest, across):  # both servers are well, and the deleted one stays silent
            await tab.ask("still here?")
        assert [len(tab.feed(conversation_id)) for tab in (guest, across)] == heard
        assert len(provider.chats) == 3
        assert redis_command(redis_server, "KEYS", f"*{conversation_id}*") == []
        with mongod.client() as client:
            database = client[here.settings["MONGODB_DATABASE"]]
            assert "unmistakable" not in str(list(database["turns"].find()))


async def test_a_tab_that_sends_into_a_conversation_of_another_server_gets_a_snapshot_first(
    provider: Provider, two: tuple[App, App]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        second = await across.send("second", conversation_id)
        assert second["turn"]["status"] == "queued"
        gate.set()
        story = Story(conversation_id).on(across)
        told = await story.end_of(second["turn"]["id"])
        assert told.contents == ["first", "half whole", "second", "half whole"]
        [(name, snapshot), *rest] = across.feed(conversation_id)
        assert name == "conversation:snapshot"
        [live] = [turn for turn in snapshot["turns"] if turn["status"] == "running"]
        assert (live["text"], live["next_index"]) == ("half ", 1)
        assert rest == guest.feed(conversation_id)[-len(rest) :]
