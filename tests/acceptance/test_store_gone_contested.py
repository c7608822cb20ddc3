"""Several servers that could each go on with a conversation: one does, and nothing comes twice."""

from __future__ import annotations

import asyncio
import uuid

from tests.acceptance.conftest import StartApp
from tests.acceptance.outages import a_full_disk, start_behind, store_is, stored
from tests.acceptance.test_edit import edit
from tests.acceptance.test_forgetting_nothing import redis_command
from tests.stores.lossy import LossyWay
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


async def test_a_conversation_begun_in_a_dead_servers_spool_goes_on_elsewhere(
    start_app: StartApp,
    settings: dict[str, str],
    own_mongod: Mongod,
    redis_server: RedisServer,
    provider: Provider,
) -> None:
    here, there = start_app(**settings), start_app(**settings)
    guest = await Client(here.url).connect()
    own_mongod.kill()
    conversation_id = (await guest.ask("one"))["conversation_id"]
    here.kill()
    # Half a minute later: its claim to the conversation, and its place among servers, are over.
    redis_command(redis_server, "DEL", f"spool:lease:{{{conversation_id}}}", "spool:servers")
    async with Client(there.url, guest.token) as tab:

        async def goes_on() -> bool:
            answer = await tab.call("conversation:open", {"conversation_id": conversation_id})
            return bool(answer["ok"])

        await wait_until(goes_on, "another server shows it")
        await tab.ask("two", conversation_id)
        own_mongod.start()
        await stored_soon(tab, conversation_id, ["one", "echo: one", "two", "echo: two"], here)
        assert len(provider.requests) == 2
    await guest.close()


async def stored_soon(tab: Client, conversation_id: str, said: list[str], dead: App) -> None:
    """First what the one has, then what the other had: in the end all of it, in its order."""
    await asyncio.to_thread(dead.start)
    story = Story(conversation_id)
    await story.open(tab)
    await story.until(
        lambda told: told.contents == said and all(each["seq"] for each in told.messages),
        "all is stored",
        timeout=20,
    )
    await stored(tab, conversation_id, said)


async def test_a_running_answer_is_left_to_the_server_that_makes_it(
    start_app: StartApp, settings: dict[str, str], way: LossyWay, provider: Provider
) -> None:
    """Another one, which alone has lost the store, could not know how it goes on."""
    provider.respond = lambda body: Script(words(60), delay=0.1)
    here = await start_behind(start_app, way, settings)
    there = await asyncio.to_thread(start_app, **settings)
    async with Client(there.url) as guest:
        sent = await guest.send("long")
        conversation_id = sent["conversation_id"]
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        await asyncio.sleep(2)  # by now each server knows of the other
        async with Client(here.url, guest.token) as tab:
            way.swallows = True
            await store_is(here, "down")
            error = await tab.refusal(
                "message:send", message_id=new_id(), conversation_id=conversation_id, content="me"
            )
            assert error["code"] == "unavailable"
            error = await tab.refusal(
                "turn:stop", conversation_id=conversation_id, turn_id=sent["turn"]["id"]
            )
            assert error["code"] == "unavailable"
            await guest.completed(sent["turn"]["id"], timeout=20)
            assert [each["attempt"] for each in guest.all("turn:started")] == [1]
            assert len(provider.requests) == 1
            assert not guest.all("conversation:snapshot")


async def test_what_waits_in_a_spool_is_not_stopped_by_a_server_that_does_not_have_it(
    start_app: StartApp, settings: dict[str, str], way: LossyWay, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(5), gate=gate, gate_after=3)
    here = await start_behind(start_app, way, settings)
    there = await asyncio.to_thread(start_app, **settings)
    async with Client(here.url) as guest:
        first = await guest.send("long")
        conversation_id = first["conversation_id"]
        queued = await guest.send("queued", conversation_id)
        way.swallows = True
        await store_is(here, "down")
        await asyncio.sleep(3)  # its renewal has moved them, and the other one knows
        async with Client(there.url, guest.token) as tab:
            error = await tab.refusal(
                "turn:stop", conversation_id=conversation_id, turn_id=queued["turn"]["id"]
            )
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            stopped = await guest.stop(conversation_id, queued["turn"]["id"])
            assert stopped["status"] == "stopped"
            gate.set()
            await guest.completed(first["turn"]["id"])
            way.swallows = False
            await stored_in_turn(tab, conversation_id, ["long", "".join(words(5)), "queued"])
            assert len(provider.requests) == 1


async def stored_in_turn(tab: Client, conversation_id: str, said: list[str]) -> None:
    async def is_so() -> bool:
        answer = await tab.call("conversation:history", {"conversation_id": conversation_id})
        return [each["content"] for each in answer.get("messages", [])] == said

    await wait_until(is_so, f"{said} is stored", timeout=20)


async def test_what_was_deleted_before_is_not_shown_when_both_stores_go(
    start_app: StartApp,
    settings: dict[str, str],
    own_mongod: Mongod,
    redis_server: RedisServer,
    provider: Provider,
) -> None:
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = (await guest.ask("a secret"))["conversation_id"]
        await tab.ok("conversation:delete", conversation_id=conversation_id)
        await guest.next_event("conversation:deleted")
        own_mongod.kill()
        redis_server.kill()
        for name, fields in (
            ("conversation:open", {}),
            ("message:send", {"message_id": new_id(), "content": "and now?"}),
        ):
            error = await guest.refusal(name, conversation_id=conversation_id, **fields)
            assert error["code"] in ("not_found", "unavailable")
        assert len(provider.requests) == 1


def open_turns(mongod: Mongod, app: App) -> int:
    with mongod.client() as client:
        turns = client[app.settings["MONGODB_DATABASE"]]["turns"]
        return int(turns.count_documents({"open": True}))


async def test_a_message_that_was_replaced_is_not_taken_for_new_while_the_store_is_away(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    """It was sent again to another server: by a client whose first one was frozen, perhaps. That
    one has only what stands in the conversation; it answered the message once more."""
    settings |= {"MONGODB_DATABASE": f"replaced_{uuid.uuid4().hex[:8]}"}
    here, there = start_app(**settings), start_app(**settings)
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        calls = [
            {"conversation_id": conversation_id, "message_id": new_id(), "content": content}
            for content in ("two", "three")
        ]
        answers = [await guest.ok("message:send", **call) for call in calls]
        for answer in answers:
            await guest.completed(answer["turn"]["id"])
        edited = await edit(guest, answers[1]["message"], "three, better")
        await guest.completed(edited["turn"]["id"])
        # Its question stands there still, and is another turn's.
        anew = await guest.ok(
            "turn:regenerate",
            conversation_id=conversation_id,
            turn_id=answers[0]["turn"]["id"],
            new_turn_id=new_id(),
        )
        await guest.completed(anew["turn"]["id"])
        # Told is before closed, and what is open there is that server's.
        await wait_until(lambda: not open_turns(own_mongod, here), "all is closed")
        own_mongod.kill()
        await store_is(there, "down")
        for _ in range(2):  # also when the conversation goes on there already
            for call in calls:
                error = await tab.refusal("message:send", **call)
                assert (error["code"], error["retryable"]) == ("unavailable", True)
            await tab.ask("what is new", conversation_id)
        own_mongod.start()
        said = ["one", "echo: one", "two", "echo: two", *["what is new", "echo: what is new"] * 2]
        await stored(tab, conversation_id, said)
        assert [await tab.ok("message:send", **call) for call in calls] == answers
        assert len(provider.chats) == 7


async def test_a_title_that_a_message_gave_in_the_outage_stays(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        own_mongod.kill()
        made = await guest.ok("conversation:create", conversation_id=new_id())
        conversation_id = made["conversation"]["id"]
        await guest.ask("hello there", conversation_id)
        own_mongod.start()
        await wait_until(lambda: len(guest.all("message:stored")) == 2, "it is drained", timeout=15)
        listed = await guest.ok("conversation:list")
        assert [each["title"] for each in listed["conversations"]] == ["hello there"]


async def test_what_was_drained_is_served_though_the_spool_cant_be_emptied(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        own_mongod.kill()
        conversation_id = (await guest.ask("x" * 60_000))["conversation_id"]
        with a_full_disk(app, 1):
            own_mongod.start()
            await wait_until(
                lambda: len(guest.all("message:stored")) == 2, "it is drained", timeout=20
            )
            await guest.ask("more", conversation_id)
        await guest.ask("and more", conversation_id)
        assert len(await guest.transcript(conversation_id)) == 6
