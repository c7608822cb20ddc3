"""What happens at the same moment on several servers."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import redis
import socketio

from tests.acceptance.conftest import StartApp
from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Body, Provider, Script, echo
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


async def test_a_reader_that_comes_back_as_the_answer_ends_is_told_the_end_once(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        story = Story(conversation_id)
        await story.open(tab)
        for number in range(22):
            await tab.ok("conversation:close", conversation_id=conversation_id)
            sent = await guest.send("one two three four", conversation_id)
            await asyncio.sleep(number * 0.002)  # from before the first word to after the end
            if number % 3:
                assert await story.resume(tab) == "replayed"
            else:
                assert await story.open(tab) == "snapshot"
            await guest.completed(sent["turn"]["id"])
            told = await story.until(
                lambda told, number=number: len(told.contents) == 2 * number + 4, "all is told"
            )
            assert told.live == {}
        assert told.contents == await guest.contents(conversation_id)


async def test_whoever_hears_the_end_finds_everything_readable_and_the_conversation_free(
    provider: Provider, two: tuple[App, App]
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("begin"))["conversation_id"]
        for tab in (guest, across):
            await tab.ok("conversation:close", conversation_id=conversation_id)
            await tab.open(conversation_id)
        for number in range(20):
            tabs = [guest, across] if number % 2 else [across, guest]
            sent = await tabs[0].send(f"question {number}", conversation_id, if_busy="reject")
            assert sent["turn"]["status"] == "running"
            # The one that is farther from the answer hears of its end, and reads at once.
            completed = await tabs[1].completed(sent["turn"]["id"])
            transcript = await tabs[1].transcript(conversation_id)
            assert transcript[-1] == completed["message"]
            async with Client((here, there)[number % 2].url, guest.token) as new:
                opened = await new.open(conversation_id)
                assert opened["messages"][-1] == completed["message"]
                assert opened["turns"] == []
            assert provider.chats[-1].texts[1:] == [m["content"] for m in transcript[:-1]]


async def test_two_servers_that_find_the_same_orphans_begin_each_of_them_once(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    count = 12

    def respond(body: Body) -> Script:
        if len(provider.chats) <= count:
            return Script(["half ", "never"], gate=asyncio.Event())
        return echo(body)

    provider.respond = respond
    dying, *others = (start_app(**shared) for _ in range(3))
    guest = await Client(dying.url).connect()
    tabs = [await Client(app.url, guest.token).connect() for app in others]
    sent = [await guest.send(f"question {number}") for number in range(count)]
    stories = []
    for place, each in enumerate(sent):
        story = Story(each["conversation_id"])
        await story.open(tabs[place % 2])
        stories.append(story)
        await story.until(lambda told: any(live.text for live in told.live.values()), "it begins")
    dying.kill()
    for each, story in zip(sent, stories, strict=True):
        told = await story.end_of(each["turn"]["id"])
        question = each["message"]["content"]
        assert told.contents == [question, f"echo: {question}"]
        assert (told.attempts[each["turn"]["id"]][-1], told.snapshots) == (2, 0)
    asked = [request.texts[-1] for request in provider.chats]
    assert sorted(asked) == sorted(2 * [each["message"]["content"] for each in sent])
    for tab in (guest, *tabs):
        await tab.close()


async def test_a_rolling_restart_of_all_servers_loses_and_doubles_nothing_for_anybody(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(words(40), delay=0.05)
    apps = [start_app(**shared) for _ in range(2)]

    async def chat(user: int, until: asyncio.Event) -> int:
        """Ask again and again, and move to the other server when this one asks for it."""
        place, turns = user % 2, 0
        client = await Client(apps[place].url).connect()
        conversation_id = (await client.ok("conversation:create"))["conversation"]["id"]
        story = Story(conversation_id)
        await story.open(client)
        while not until.is_set():
            call = {
                "message_id": f"{user}-{turns}",
                "content": f"{user}-{turns}",
                "conversation_id": conversation_id,
            }
            begun = time.monotonic()
            acknowledged = False
            while story.told.live or len(story.told.contents) < 2 * turns + 2:
                assert time.monotonic() - begun < 30, story.events[-5:]
                moving = client.all("server:draining") or not client.socket.connected
                if moving:
                    await client.close()
                    place = 1 - place
                    client = await Client(apps[place].url, client.token).connect()
                    await story.resume(client)
                elif not acknowledged:
                    try:
                        answer = await client.call("message:send", call)
                    except socketio.exceptions.TimeoutError:
                        # The server let the connection go with the call on its way.
                        assert not client.socket.connected
                        continue
                    acknowledged = answer["ok"]
                    assert acknowledged or answer["error"]["retryable"], answer
                await asyncio.sleep(0.05)
            turns += 1
        told = story.told
        assert told.contents == [
            text for turn in range(turns) for text in (f"{user}-{turn}", "".join(words(40)))
        ]
        assert told.snapshots == 0
        assert await client.contents(conversation_id) == told.contents
        await client.close()
        return turns

    done = asyncio.Event()
    async with asyncio.TaskGroup() as users:
        chats = [users.create_task(chat(user, done)) for user in range(6)]
        for app in apps:
            await wait_until(lambda: provider.open_streams >= 4, "many are being answered")
            app.signal(signal.SIGTERM)
            assert app.process is not None
            assert await asyncio.to_thread(app.process.wait, 20) == 0
            await asyncio.to_thread(app.start)
        done.set()
    assert sum(chat.result() for chat in chats) == len(provider.chats)


async def test_an_event_of_a_later_version_in_the_log_breaks_no_reader(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    """What a server of tomorrow may append beside those of today: another event, more fields."""
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["half ", "whole"], gate=gate)
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        sent = await guest.send("one")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        for story in stories:
            await story.until(lambda told: told.text(turn_id), "the answer begins")
        cursor = stories[0].told.cursor
        with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
            [log] = client.keys(f"feed:log:*{conversation_id}*")
            [(last, entry)] = client.xrevrange(log, count=1)
            epoch, number = last.split("-")
            later = f"{epoch}-{int(number) + 1}"
            state = json.loads(entry["s"]) | {"from_a_later_version": [1]}
            rule = json.dumps(["thought", 1, turn_id, 1])
            body = json.dumps({"turn_id": turn_id, "thought": "hm"})[1:]
            fields = {"v": "2", "r": rule, "e": "turn:thought", "b": body, "s": json.dumps(state)}
            client.xadd(log, fields | {"z": "from a later version"}, id=later)
            [channel] = client.pubsub_channels(f"*{conversation_id}*")
            client.publish(channel, f"{later}\n{rule}\nturn:thought\n{body}")
        gate.set()
        for story in stories:
            told = await story.end_of(turn_id)
            assert (told.contents, told.snapshots) == (["one", "half whole"], 0)
        for app in two:
            async with Client(app.url, guest.token) as back:
                opened = await back.open(conversation_id, cursor)
                assert opened["recovery"] == "replayed"
                completed = await back.completed(turn_id)
                assert completed["message"]["content"] == "half whole"
        await across.ask("two", conversation_id)
        for story in stories:
            assert (await story.until(lambda t: len(t.contents) == 4, "it goes on")).snapshots == 0
