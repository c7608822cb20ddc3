"""Redis goes in mid-answer, for all servers or for one: readers lose nothing."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.acceptance.conftest import StartApp
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Body, Provider, Script, echo
from tests.support.redis_server import RedisServer, Relay
from tests.support.redis_way import RedisWay
from tests.support.story import Story, words
from tests.support.wait import wait_until


def long_answers(body: Body) -> Script:
    """To what begins so; the others are short."""
    question = body["messages"][-1]["content"]
    return Script(words(50), delay=0.04) if question.startswith("long") else echo(body)


LONG = "".join(words(50))


def break_redis(server: RedisServer, fault: str) -> None:
    if fault in ("killed", "restarted"):
        server.kill()
    if fault == "restarted":
        server.start()
    elif fault == "frozen":
        server.freeze()
    elif fault == "emptied":
        redis_command(server, "FLUSHALL")
    elif fault == "demoted":  # as after a failover: it answers, but takes no writes
        redis_command(server, "REPLICAOF", "127.0.0.1", "1")
    elif fault == "full":
        redis_command(server, "CONFIG", "SET", "maxmemory", "1")


def mend_redis(server: RedisServer, fault: str) -> None:
    if fault == "killed":
        server.start()
    elif fault == "frozen":
        server.thaw()
    elif fault == "demoted":
        redis_command(server, "REPLICAOF", "NO", "ONE")
    elif fault == "full":
        redis_command(server, "CONFIG", "SET", "maxmemory", "0")


async def test_whether_redis_is_away_or_was_never_there_is_told(
    start_app: StartApp, redis_server: RedisServer
) -> None:
    local = {"memory": "local", "store": "ok"}
    alone, shared = start_app(), start_app(REDIS_URL=redis_server.url)
    async with Client(alone.url) as guest:
        assert await guest.next_event("server:status") == local
        assert guest.session["server"]["shared_memory"] is False
    async with Client(shared.url) as guest:
        assert guest.session["server"]["shared_memory"] is True
        redis_server.kill()
        assert await guest.next_event("server:status") == local
        async with Client(shared.url) as later:
            assert await later.next_event("server:status") == local
            assert later.session["server"]["shared_memory"] is True


async def cursors_are_shared_again(guest: Client, here: App, there: App, conversation: str) -> None:
    """What one server gives as a cursor, the other one goes on from; and the other way round."""

    async def shared() -> bool:
        verdicts = []
        for giving, taking in ((here, there), (there, here)):
            async with (
                Client(giving.url, guest.token) as one,
                Client(taking.url, guest.token) as two,
            ):
                cursor = (await one.open(conversation))["cursor"]
                verdicts.append((await two.open(conversation, cursor))["recovery"])
        return verdicts == ["replayed", "replayed"]

    await wait_until(shared, "a cursor is good on both servers", timeout=3, interval=0.1)


@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied", "restarted", "demoted", "full"])
async def test_readers_on_all_servers_lose_nothing_while_redis_is(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer, fault: str
) -> None:
    provider.respond = long_answers
    here, there = two
    async with (
        Client(here.url) as guest,
        Client(here.url, guest.token) as beside,
        Client(there.url, guest.token) as across,
    ):
        conversation_id = (await guest.ask("before"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id), Story(conversation_id)]
        await stories[1].open(beside)
        await stories[2].open(across)
        sent = await guest.send("long one", conversation_id)
        for story in stories:
            await story.until(lambda told: told.deltas > 3, "the answer streams")
        await asyncio.to_thread(break_redis, redis_server, fault)
        now = ["before", "echo: before", "long one", LONG]
        for story in stories:
            told = await story.shows(now)
            assert told.snapshots <= 1
            assert sent["turn"]["id"] not in told.live
        # New turns work meanwhile, on both servers, with all that was said; so does opening.
        await guest.send("here", conversation_id)
        now += ["here", "echo: here"]
        await stories[0].shows(now)
        assert provider.chats[-1].texts[1:] == now[:-1]
        async with Client(there.url, guest.token) as reloaded:
            opened = await reloaded.open(conversation_id)
            assert [message["content"] for message in opened["messages"]] == now
            assert opened["turns"] == []
        for story in stories:
            await story.shows(now)
        await across.send("there", conversation_id)
        now += ["there", "echo: there"]
        for story in stories:
            await story.shows(now)
        assert provider.chats[-1].texts[1:] == now[:-1]

        await asyncio.to_thread(mend_redis, redis_server, fault)
        await cursors_are_shared_again(guest, here, there, conversation_id)
        before = [story.told.snapshots for story in stories]
        asked = await across.send("long after", conversation_id)
        for story in stories:
            told = await story.end_of(asked["turn"]["id"])
            assert told.contents == [*now, "long after", LONG]
        assert [story.told.snapshots for story in stories] == before
        assert max(before) <= (1 if fault in ("emptied", "restarted") else 3)
        assert provider.chats[-1].texts[1:] == [*now, "long after"]
        ends = [tab.feed(conversation_id)[-20:] for tab in (guest, beside, across)]
        assert ends[0] == ends[1] == ends[2]
        await guest.vanish()
        async with Client(there.url, guest.token) as back:
            assert await stories[0].resume(back) == "replayed"
        assert len(provider.chats) == 5


@pytest.mark.parametrize("fault", ["cut off", "frozen out"])
async def test_readers_of_a_server_that_alone_cannot_reach_redis_lose_nothing(
    start_app: StartApp,
    provider: Provider,
    shared: dict[str, str],
    redis_server: RedisServer,
    fault: str,
) -> None:
    provider.respond = long_answers
    async with RedisWay(redis_server.port) as way:
        here, there = start_app(**shared), start_app(**shared | {"REDIS_URL": way.url})
        async with Client(here.url) as guest, Client(there.url, guest.token) as across:
            conversation_id = (await guest.ask("before"))["conversation_id"]
            stories = [Story(conversation_id).on(guest), Story(conversation_id)]
            await stories[1].open(across)
            now = ["before", "echo: before"]
            # Either server may be the one that answers while one of them is cut off.
            for asking, question in ((guest, "long one"), (across, "long two")):
                sent = await asking.send(question, conversation_id)
                for story in stories:
                    await story.until(
                        lambda told, sent=sent: told.text(sent["turn"]["id"]), "the answer streams"
                    )
                if fault == "cut off":
                    way.cut()
                else:
                    way.freeze()
                now += [question, LONG]
                for story in stories:
                    await story.shows(now)
                for tab, said in ((across, f"cut off {question}"), (guest, f"beside {question}")):
                    await tab.send(said, conversation_id)
                    now += [said, f"echo: {said}"]
                    for story in stories:
                        await story.shows(now)
                assert provider.chats[-1].texts[1:] == now[:-1]
                way.mend()
                way.thaw()
                await cursors_are_shared_again(guest, here, there, conversation_id)
            asked = await guest.ask("after", conversation_id)
            for story in stories:
                told = await story.end_of(asked["turn_id"])
                assert told.contents == [*now, "after", "echo: after"]
            assert guest.feed(conversation_id)[-4:] == across.feed(conversation_id)[-4:]


async def test_a_redis_that_comes_back_older_than_it_went_hides_nothing(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        stories = [Story(conversation_id).on(guest), Story(conversation_id)]
        await stories[1].open(across)
        cursors = [stories[0].told.cursor]
        redis_command(redis_server, "SAVE")
        for question in ("two", "three"):
            asked = await guest.ask(question, conversation_id)
            await stories[1].end_of(asked["turn_id"])
            cursors.append(stories[0].told.cursor)
        redis_server.kill()
        redis_server.start()  # with what was saved: it knows nothing of two and three
        await across.ask("four", conversation_id)
        await guest.ask("five", conversation_id)
        now = [
            text
            for word in ("one", "two", "three", "four", "five")
            for text in (word, f"echo: {word}")
        ]
        for story in stories:
            await story.shows(now)
        assert provider.chats[-1].texts[1:] == now[:-1]
        for place, cursor in enumerate(cursors):
            for url in (here.url, there.url):
                async with Client(url, guest.token) as back:
                    opened = await back.open(conversation_id, cursor)
                    if opened["recovery"] == "snapshot":
                        assert [message["content"] for message in opened["messages"]] == now
                        continue
                    missed = now[2 * place + 2 :]
                    await wait_until(
                        lambda back=back, missed=missed: (
                            [
                                payload["message"]["content"]
                                for payload in back.all("message:created", "turn:completed")
                            ]
                            == missed
                        ),
                        "all that was missed follows",
                    )


async def test_a_lost_reply_of_redis_neither_loses_nor_doubles_a_word(
    start_app: StartApp, provider: Provider, shared: dict[str, str], redis_server: RedisServer
) -> None:
    provider.respond = long_answers
    async with Relay(redis_server.port) as relay:
        here, there = start_app(**shared | {"REDIS_URL": relay.url}), start_app(**shared)
        async with Client(here.url) as guest, Client(there.url, guest.token) as across:
            conversation_id = (await guest.ask("before"))["conversation_id"]
            stories = [Story(conversation_id).on(guest), Story(conversation_id)]
            await stories[1].open(across)
            await guest.send("long one", conversation_id)
            for number in range(4):
                await stories[0].until(
                    lambda told, number=number: told.deltas > 8 * number or not told.live,
                    "the answer streams",
                )
                relay.lose_the_reply_to(b"turn:delta")
                await wait_until(
                    lambda number=number: relay.lost > number, "an append's reply is lost"
                )
            for story in stories:
                told = await story.shows(["before", "echo: before", "long one", LONG])
                assert told.snapshots <= 4  # one for each


async def test_a_stream_goes_on_within_a_second_or_two_when_redis_freezes(
    provider: Provider, two: tuple[App, App], redis_server: RedisServer
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(400), delay=0.03, gate=gate, gate_after=0)
    here, _ = two
    async with Client(here.url) as guest:
        sent = await guest.send("tell me")
        gate.set()
        turn_id = sent["turn"]["id"]
        story = Story(sent["conversation_id"]).on(guest)
        await story.until(lambda told: told.deltas > 3, "the answer streams")
        redis_server.freeze()
        try:
            said = story.told.text(turn_id)
            await story.until(
                lambda told: len(told.text(turn_id)) > len(said) + 200, "it goes on", timeout=4
            )
            assert story.told.snapshots <= 1
            await guest.stop(sent["conversation_id"], turn_id)
            await story.end_of(turn_id)
        finally:
            redis_server.thaw()


@pytest.mark.parametrize("fault", ["killed", "frozen", "black hole"])
async def test_the_first_turn_without_redis_takes_a_second_more_and_the_next_ones_nothing(
    start_app: StartApp, shared: dict[str, str], redis_server: RedisServer, fault: str
) -> None:
    async with RedisWay(redis_server.port) as way:
        app = start_app(**shared | {"REDIS_URL": way.url})
        async with Client(app.url) as guest:
            conversation_id = (await guest.ask("one"))["conversation_id"]
            story = Story(conversation_id).on(guest)

            async def took(question: str) -> float:
                began = time.monotonic()
                said = [*story.told.contents, question, f"echo: {question}"]
                await guest.send(question, conversation_id)
                await story.shows(said)
                return time.monotonic() - began

            usual = min([await took(f"before {number}") for number in range(5)])
            way.freeze() if fault == "black hole" else break_redis(redis_server, fault)
            assert await took("first") < usual + 1.3  # a second, and what a busy machine adds
            assert min([await took(f"after {number}") for number in range(5)]) < usual + 0.3
            way.thaw() if fault == "black hole" else mend_redis(redis_server, fault)
