"""What nobody but its owner sees: by no call, guess, cursor or race."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.outages import store_is
from tests.server.test_protocol_page import names, table
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.pictures import attachment
from tests.support.provider import Provider
from tests.support.redis_server import RedisServer

# Not about one conversation that must be there already; each has a test of its own, below or with
# what it is about.
OF_THEIR_OWN = {
    *("conversation:list", "conversation:create", "conversation:import"),
    *("memory:list", "memory:update", "memory:delete", "user:delete"),
}


def calls_about_one(about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each call of the protocol page that is about a conversation, with all its fields but that
    one. A field, or a call, that nobody has thought of here fails."""
    known = {
        **about,
        "new_message_id": new_id(),
        "new_turn_id": new_id(),
        "content": "hello?",
        "title": "mine now",
        "limit": 5,
        "format": "json",
        "after": "",
        "if_busy": "interrupt",
        "attachments": [attachment()],
        "value": 1,
        "comment": "not mine",
        "query": "private",
        "days": 7,
        "model": "",
        "system_prompt": "",
    }
    calls = {}
    for name, (fields, *_) in table("Calls").items():
        wanted = {field.rstrip("?") for field in names(fields)}
        wanted = {field for field in wanted if not field.startswith('"')}
        if name not in OF_THEIR_OWN:
            assert "conversation_id" in wanted, f"who may see what {name} answers?"
            before = {"before": 3} if "before" in wanted else {}
            wanted -= {"conversation_id", "before"}
            calls[name] = {field: known[field] for field in wanted} | before
    return calls


async def answers(
    stranger: Client, calls: dict[str, dict[str, Any]], conversation_id: str
) -> dict[str, dict[str, Any]]:
    return {
        name: await stranger.call(name, {**fields, "conversation_id": conversation_id})
        for name, fields in calls.items()
    }


def codes(told: dict[str, dict[str, Any]]) -> set[str]:
    return {answer["error"]["code"] for answer in told.values()}


async def secrets_of(owner: Client) -> dict[str, Any]:
    """Of a conversation: all that a stranger could name."""
    sent = await owner.send("private", attachments=[attachment()])
    asked = await owner.completed(sent["turn"]["id"])
    conversation_id = asked["conversation_id"]
    question = owner.all("message:created")[-1]["message"]
    await owner.ask("more", conversation_id)
    return {
        "conversation_id": conversation_id,
        "message_id": question["id"],
        "attachment_id": question["attachments"][0]["id"],
        "turn_id": asked["turn_id"],
        "after": asked["cursor"],
    }


async def test_nobody_sees_anothers_conversation_by_any_call(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as owner, Client(app.url) as stranger:
        about = await secrets_of(owner)
        theirs = about["conversation_id"]
        prompts = len(provider.requests)

        calls = calls_about_one(about)
        not_yours = await answers(stranger, calls, theirs)
        assert json.dumps(not_yours) == json.dumps(await answers(stranger, calls, new_id()))
        assert codes(not_yours) == {"not_found"}

        # From a conversation of one's own, by the ids of another's.
        own = (await stranger.ok("conversation:create"))["conversation"]["id"]
        for name, ids in {
            "turn:stop": ["turn_id"],
            "turn:regenerate": ["turn_id"],
            "message:edit": ["message_id"],
            "attachment:get": ["attachment_id"],
        }.items():
            fields = {**calls[name], "conversation_id": own}
            unknown = fields | {each: new_id() for each in ids}
            assert await stranger.call(name, fields) == await stranger.call(name, unknown), name
        opened = await stranger.open(own, about["after"])
        assert (opened["recovery"], opened["messages"], opened["turns"]) == ("snapshot", [], [])

        # By a list's cursor, and by an id that is taken.
        await owner.ok("conversation:create")
        page = await owner.ok("conversation:list", limit=1)
        listed = await stranger.ok("conversation:list", before=page["next"])
        assert {each["id"] for each in listed["conversations"]} <= {own}
        assert {
            each["id"] for each in (await stranger.ok("conversation:list"))["conversations"]
        } == {own}
        taken = await stranger.refusal("conversation:create", conversation_id=theirs)
        assert taken["code"] == "conflict"
        document = {"format": "mnemosio-conversation", "version": 1, "messages": []}
        taken = await stranger.refusal(
            "conversation:import", conversation_id=theirs, document=document
        )
        assert taken["code"] == "conflict"

        # Nothing has come of all that, neither for the one nor for the other.
        assert len(provider.requests) == prompts
        assert (await owner.contents(theirs))[::2] == ["private", "more"]
        await owner.ask("still private", theirs)
        told = json.dumps(stranger.events)
        assert theirs not in told
        assert "private" not in told


async def test_what_two_users_do_alike_or_at_once_stays_each_ones_own(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as one, Client(app.url) as two:
        await _the_same_keys(one, two)
        await _one_id_at_once(one, two)


async def _the_same_keys(one: Client, two: Client) -> None:
    key, edits = new_id(), new_id()
    first = await one.send("mine", message_id=key)
    second = await two.send("also mine", message_id=key)
    assert first["conversation_id"] != second["conversation_id"]
    await one.completed(first["turn"]["id"])
    await two.completed(second["turn"]["id"])
    for client, sent in ((one, first), (two, second)):
        name = client.session["user_id"]
        about = {"conversation_id": sent["conversation_id"], "message_id": key}
        answer = await client.ok("message:edit", **about, new_message_id=edits, content=name)
        await client.completed(answer["turn"]["id"])
    for client, sent in ((one, first), (two, second)):
        said = await client.contents(sent["conversation_id"])
        assert said[0] == client.session["user_id"]


async def _one_id_at_once(one: Client, two: Client) -> None:
    for _ in range(20):
        wanted = {"conversation_id": new_id()}
        made = await asyncio.gather(
            *(client.call("conversation:create", wanted) for client in (one, two))
        )
        opened = await asyncio.gather(
            *(client.call("conversation:open", wanted) for client in (one, two))
        )
        assert sorted(answer["ok"] for answer in made) == [False, True]
        assert [answer["ok"] for answer in made] == [answer["ok"] for answer in opened]
    # Who looks for it before it is there, while it is made and after, never has it.
    wanted = {"conversation_id": new_id()}
    looks = [two.call("conversation:open", wanted) for _ in range(30)]
    *looked, _ = await asyncio.gather(*looks, one.call("conversation:create", wanted))
    assert not any(answer["ok"] for answer in looked)
    await one.ask("private", wanted["conversation_id"])
    assert "private" not in json.dumps(two.events)


async def test_not_yours_and_not_there_cost_the_same_with_the_store_and_without(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, redis_server: RedisServer
) -> None:
    """A difference in what is done would be one in time, for who measures long enough."""
    app = start_app(**settings)
    async with Client(app.url) as owner:
        about = await secrets_of(owner)
    theirs, nowhere = about["conversation_id"], new_id()
    calls = calls_about_one(about)
    async with Client(app.url) as stranger:
        asked = []
        for conversation_id in (theirs, nowhere):
            with listening(own_mongod, redis_server) as heard:
                told = await answers(stranger, calls, conversation_id)
            assert codes(told) == {"not_found"}
            about_it = (stranger.session["user_id"], conversation_id)
            asked.append(
                [
                    re.sub(r"\b\d[\d.]*\b", "#", each.replace(conversation_id, "…"))
                    for each in heard
                    # What counts a user's calls comes at its own times.
                    if any(part in each for part in about_it) and "rate:" not in each
                ]
            )
        assert len(asked[0]) > len(calls)
        assert asked[0] == asked[1]

        own_mongod.kill()
        await store_is(app, "down")
        not_yours = await answers(stranger, calls, theirs)
        assert json.dumps(not_yours) == json.dumps(await answers(stranger, calls, new_id()))
        assert codes(not_yours) == {"unavailable"}
        assert theirs not in json.dumps(stranger.events)
    own_mongod.start()


@contextmanager
def listening(mongod: Mongod, server: RedisServer) -> Iterator[list[str]]:
    """What the server asks of MongoDB and of Redis meanwhile, without what differs each time."""
    heard: list[str] = []
    with mongod.client() as client, redis.Redis(port=server.port) as asking:
        database = client["mnemosio"]
        database.command("profile", 0)
        database.drop_collection("system.profile")
        database.command("profile", 2)
        with asking.monitor() as monitor:
            begun = threading.Event()
            listener = threading.Thread(target=_listen, args=(monitor, heard, begun))
            listener.start()
            assert begun.wait(5)
            try:
                yield heard
            finally:
                with redis.Redis(port=server.port) as ending:
                    ending.echo("enough")
                listener.join(5)
                database.command("profile", 0)
        for entry in database["system.profile"].find():
            for unsteady in ("lsid", "$clusterTime", "$readPreference", "txnNumber"):
                entry["command"].pop(unsteady, None)
            heard.append(f"mongo {entry['op']} {entry['command']} {entry.get('planSummary')}")


def _listen(monitor: Any, heard: list[str], begun: threading.Event) -> None:
    begun.set()
    for told in monitor.listen():
        if told["command"] == "ECHO enough":
            return
        heard.append(f"redis {told['command']}")
