"""Several servers, and the permanent store gone for all of them or for one."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.acceptance.conftest import StartApp
from tests.acceptance.outages import start_behind, store_is, stored
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.stores.lossy import LossyWay
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


async def test_a_conversation_goes_on_with_one_server_and_is_shown_by_the_others(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest, Client(there.url, None) as stranger:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        await stranger.ask("of somebody else")  # each server has conversations of its own
        await guest.ask("two", conversation_id)
        async with Client(there.url, guest.token) as tab:
            story = Story(conversation_id)
            assert await story.open(tab) == "snapshot"
            assert story.told.contents == ["one", "echo: one", "two", "echo: two"]
            error = await tab.refusal(
                "message:send",
                message_id=new_id(),
                conversation_id=conversation_id,
                content="three",
            )
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            await guest.ask("three", conversation_id)
            told = await story.shows([*story.told.contents[:4], "three", "echo: three"])
            assert [each["seq"] for each in told.messages] == [1, 2, None, None, None, None]
            own_mongod.start()
            await story.until(
                lambda told: [each["seq"] for each in told.messages] == [1, 2, 3, 4, 5, 6],
                "all is stored",
                timeout=20,
            )
            await stored(tab, conversation_id, story.told.contents)
            await tab.ask("four", conversation_id)
            assert len(provider.requests) == 5


async def test_a_server_that_alone_lost_the_store_keeps_its_answers(
    start_app: StartApp, settings: dict[str, str], way: LossyWay, provider: Provider
) -> None:
    """The other one, which has the store, neither takes them over nor gives their places away."""
    provider.respond = lambda body: Script(words(60), delay=0.1)
    here = await start_behind(start_app, way, settings)
    there = await asyncio.to_thread(start_app, **settings)
    async with Client(here.url) as guest:
        sent = await guest.send("long")
        conversation_id = sent["conversation_id"]
        async with Client(there.url, guest.token) as tab:
            story = Story(conversation_id)
            await story.open(tab)
            await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
            way.swallows = True
            await store_is(here, "down")
            await store_is(there, "ok")
            await asyncio.sleep(3)  # by then the other one knows
            error = await tab.refusal(
                "message:send", message_id=new_id(), conversation_id=conversation_id, content="me"
            )
            assert error["code"] == "unavailable"
            # The first one's answer is under way already.
            provider.respond = lambda body: Script(["short"])
            queued = await guest.send("next", conversation_id)
            assert queued["durability"] == "spooled"
            await guest.completed(sent["turn"]["id"], timeout=30)
            await guest.completed(queued["turn"]["id"])
            text = "".join(words(60))
            # As it was told: what has no place yet stands where it came.
            await story.shows(["long", "next", text, "short"])
            way.swallows = False
            await story.shows(["long", text, "next", "short"], timeout=20)
            await stored(tab, conversation_id, ["long", text, "next", "short"])
            assert len(provider.requests) == 2


async def test_servers_that_cant_see_each_other_keep_one_message_and_one_answer(
    start_app: StartApp,
    settings: dict[str, str],
    own_mongod: Mongod,
    redis_server: RedisServer,
) -> None:
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        async with Client(there.url, guest.token) as tab:
            await tab.ask("two", conversation_id)
            redis_server.kill()
            own_mongod.kill()
            same = {"message_id": new_id(), "content": "new"}
            first = await guest.ok("message:send", **same)
            second = await tab.ok("message:send", **same)
            assert first["turn"] == second["turn"]
            assert first["durability"] == second["durability"] == "spooled"
            stories = [
                Story(first["conversation_id"], divided=True).on(each) for each in (guest, tab)
            ]
            for story in stories:
                await story.end_of(first["turn"]["id"])
            await guest.ask("of the one", first["conversation_id"])
            await tab.ask("of the other", first["conversation_id"])
            own_mongod.start()
            redis_server.start()
            async with Client(here.url, guest.token) as later:

                async def all_is_there() -> list[str]:
                    answer = await later.call(
                        "conversation:history", {"conversation_id": first["conversation_id"]}
                    )
                    said = [each["content"] for each in answer.get("messages", [])]
                    return said if len(said) == 6 else []

                said = await wait_until(all_is_there, "both are drained", timeout=30)
                assert said[:2] == ["new", "echo: new"]
                assert sorted(said[2::2]) == ["of the one", "of the other"]
                assert said[3::2] == [f"echo: {each}" for each in said[2::2]]
                for story in stories:
                    await story.until(
                        lambda told: told.contents == said and not told.live and not told.elsewhere,
                        "everybody is shown the same",
                        timeout=20,
                    )


async def test_what_was_deleted_meanwhile_does_not_come_back(
    start_app: StartApp, settings: dict[str, str], way: LossyWay
) -> None:
    here = await start_behind(start_app, way, settings)
    there = await asyncio.to_thread(start_app, **settings)
    async with Client(here.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        way.swallows = True
        await store_is(here, "down")
        sent = await guest.send("two", conversation_id)
        assert sent["durability"] == "spooled"
        await guest.completed(sent["turn"]["id"])
        async with Client(there.url, guest.token) as tab:
            await tab.ok("conversation:delete", conversation_id=conversation_id)
            way.swallows = False
            await store_is(here, "ok")

            async def is_gone() -> bool:
                answer = await guest.call("conversation:open", {"conversation_id": conversation_id})
                return not answer["ok"] and answer["error"]["code"] == "not_found"

            await wait_until(is_gone, "it is gone on both", timeout=15)
            listed = await guest.ok("conversation:list")
            assert listed["conversations"] == []


async def test_an_id_that_is_another_users_gets_neither_into_their_conversation(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, redis_server: RedisServer
) -> None:
    """A stranger takes a conversation's id while nobody can know whose it is."""
    app = start_app(**settings)
    async with Client(app.url) as owner:
        conversation_id = (await owner.ask("mine"))["conversation_id"]
    app.kill()
    redis_server.kill()
    redis_server.start()  # it is empty
    own_mongod.kill()
    app.start()
    async with Client(app.url) as stranger:
        await stranger.ok("conversation:create", conversation_id=conversation_id, title="stolen")
        await stranger.ask("theirs", conversation_id)
        async with Client(app.url, owner.token) as again:
            error = await again.refusal("conversation:open", conversation_id=conversation_id)
            assert error["code"] in ("unavailable", "not_found")
            own_mongod.start()
            await stored(again, conversation_id, ["mine", "echo: mine"])
            await again.ask("more", conversation_id)
            assert not [each for each in stranger.feed(conversation_id) if "more" in str(each)]
            error = await stranger.refusal("conversation:open", conversation_id=conversation_id)
            assert error["code"] == "not_found"
            listed = await stranger.ok("conversation:list")
            [kept] = listed["conversations"]
            assert (kept["title"], kept["message_count"]) == ("stolen", 2)
            await stored(stranger, kept["id"], ["theirs", "echo: theirs"])


async def test_an_end_that_only_a_dead_servers_spool_has_is_taken_from_the_feed(
    start_app: StartApp,
    settings: dict[str, str],
    way: LossyWay,
    provider: Provider,
    redis_server: RedisServer,
) -> None:
    provider.respond = lambda body: Script(words(30), delay=0.05)
    here = await start_behind(start_app, way, settings)
    there = await asyncio.to_thread(start_app, **settings)
    guest = await Client(here.url).connect()
    sent = await guest.send("long")
    conversation_id = sent["conversation_id"]
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    way.swallows = True
    ended = await guest.completed(sent["turn"]["id"])
    assert ended["message"]["seq"] is None
    here.kill()
    # Half a minute later: the dead server's claim to the conversation is over.
    redis_command(redis_server, "DEL", f"spool:lease:{{{conversation_id}}}")
    async with Client(there.url, guest.token) as tab:
        story = Story(conversation_id)
        await story.open(tab)
        await story.shows(["long", "".join(words(30))])

        async def both() -> list[dict[str, Any]]:
            messages = await tab.transcript(conversation_id)
            return messages if len(messages) == 2 else []

        [_, answer] = await wait_until(both, "the other server has kept it", timeout=15)
        assert answer["id"] == ended["message"]["id"]
        assert len(provider.requests) == 1
        way.swallows = False
        await asyncio.to_thread(here.start)
        async with Client(here.url, guest.token) as back:
            await stored(back, conversation_id, ["long", "".join(words(30))])
    await guest.close()
