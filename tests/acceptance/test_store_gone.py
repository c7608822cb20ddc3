"""The permanent store goes: what is said is kept in the spool, and comes back to its place."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.outages import metric_is, told_stored
from tests.support.client import Client, new_id
from tests.support.health import ready
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Request, Script
from tests.support.redis_server import RedisServer
from tests.support.story import Story, words
from tests.support.wait import wait_until


@pytest.fixture
def settings(provider: Provider, redis_server: RedisServer, own_mongod: Mongod) -> dict[str, str]:
    """Of a server whose MongoDB is the test's own, to be killed and frozen."""
    return with_provider(provider, REDIS_URL=redis_server.url, MONGODB_URI=own_mongod.uri)


def prompt(request: Request) -> list[str]:
    return [
        message["content"] for message in request.body["messages"] if message["role"] != "system"
    ]


async def test_a_conversation_goes_on_without_the_store_and_is_whole_when_it_is_back(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        conversation_id = first["conversation_id"]
        own_mongod.kill()
        sent = await guest.send("two", conversation_id)
        assert sent["durability"] == "spooled"
        assert sent["message"]["seq"] is None
        answer = await guest.completed(sent["turn"]["id"])
        assert answer["message"]["seq"] is None
        assert prompt(provider.requests[-1]) == ["one", first["message"]["content"], "two"]
        third = await guest.send("three", conversation_id)
        last = await guest.completed(third["turn"]["id"])
        assert not guest.all("message:stored")
        own_mongod.start()
        new = [each["message"]["id"] for each in (sent, answer, third, last)]
        seqs = await told_stored(guest, new)
        assert [seqs[each] for each in new] == [3, 4, 5, 6]
        messages = await guest.transcript(conversation_id)
        assert [message["seq"] for message in messages] == [1, 2, 3, 4, 5, 6]
        assert [message["id"] for message in messages[2:]] == new
        fourth = await guest.send("four", conversation_id)
        assert fourth["durability"] == "permanent"
        assert fourth["message"]["seq"] == 7
        await guest.completed(fourth["turn"]["id"])
        assert prompt(provider.requests[-1])[:5] == [
            "one",
            first["message"]["content"],
            "two",
            answer["message"]["content"],
            "three",
        ]
        assert len(provider.requests) == 4


async def test_an_answer_goes_on_over_the_outage_in_which_it_ends(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    provider.respond = lambda body: Script(words(60), delay=0.05)
    app = start_app(**settings, TURN_LEASE_SECONDS="1")
    async with Client(app.url) as guest:
        sent = await guest.send("long")
        assert sent["durability"] == "permanent"
        story = Story(sent["conversation_id"]).on(guest)
        await story.until(lambda told: told.deltas, "the answer begins")
        own_mongod.kill()
        # Longer than its lease: nobody can have taken it over, as nobody has the store.
        ended = await guest.completed(sent["turn"]["id"])
        assert (
            ended["message"]["content"] == guest.streamed(sent["turn"]["id"]) == "".join(words(60))
        )
        assert ended["message"]["seq"] is None
        own_mongod.start()
        answer_id = ended["message"]["id"]
        assert await told_stored(guest, [answer_id]) == {answer_id: 2}
        assert len(guest.all("turn:started")) == 1
        assert len(provider.requests) == 1
        told = await guest.transcript(sent["conversation_id"])
        assert [message["seq"] for message in told] == [1, 2]


async def test_an_answer_goes_on_over_an_outage_that_it_outlasts(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(words(40), delay=0.02, gate=gate, gate_after=30)
    app = start_app(**settings, TURN_LEASE_SECONDS="1")
    async with Client(app.url) as guest:
        sent = await guest.send("long")
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        own_mongod.kill()
        await wait_until(lambda: guest.all("server:status"), "the outage is told")
        await asyncio.sleep(3)
        own_mongod.start()
        await wait_until(
            lambda: guest.all("server:status")[-1]["store"] == "ok", "it is over", timeout=15
        )
        await asyncio.sleep(2)  # its sweep, and others', have looked
        gate.set()
        ended = await guest.completed(sent["turn"]["id"])
        assert ended["message"]["seq"] == 2
        assert (
            ended["message"]["content"] == guest.streamed(sent["turn"]["id"]) == "".join(words(40))
        )
        assert [started["attempt"] for started in guest.all("turn:started")] == [1]
        assert len(provider.requests) == 1


async def test_a_conversation_begins_while_the_store_is_away(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        own_mongod.kill()
        message_id = new_id()
        sent = await guest.send("hello", message_id=message_id)
        assert sent["durability"] == "spooled"
        ended = await guest.completed(sent["turn"]["id"])
        again = await guest.send("hello", message_id=message_id)
        assert again == sent
        assert (await guest.refusal("message:send", message_id=message_id, content="other"))[
            "code"
        ] == "conflict"
        # What can't be told truthfully is not told.
        assert (await guest.refusal("conversation:list"))["code"] == "unavailable"
        own_mongod.start()
        await told_stored(guest, [message_id, ended["message"]["id"]])
        listed = await guest.ok("conversation:list")
        assert [each["id"] for each in listed["conversations"]] == [sent["conversation_id"]]
        assert [each["title"] for each in listed["conversations"]] == ["hello"]
        assert listed["conversations"][0]["message_count"] == 2
        assert (await guest.send("hello", message_id=message_id))["durability"] == "permanent"
        assert len(provider.requests) == 1


async def test_a_tab_that_comes_in_the_outage_is_shown_all_that_was_said(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        conversation_id = first["conversation_id"]
        own_mongod.kill()
        await guest.ask("two", conversation_id)
        async with Client(app.url, guest.token) as tab:
            shown = await tab.open(conversation_id)
            assert [each["content"] for each in shown["messages"]] == [
                "one",
                "echo: one",
                "two",
                "echo: two",
            ]
            assert [each["seq"] for each in shown["messages"]] == [1, 2, None, None]
            own_mongod.start()
            ids = [each["id"] for each in shown["messages"][2:]]
            assert list((await told_stored(tab, ids)).values()) == [3, 4]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_the_first_turn_of_an_outage_takes_a_second_more_and_the_next_ones_nothing(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, fault: str
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill() if fault == "killed" else own_mongod.pause()
        began = time.monotonic()
        await guest.ask("two", conversation_id)
        # A second, and what a turn takes on a busy machine.
        assert time.monotonic() - began < 2
        took = []
        for number in range(5):
            began = time.monotonic()
            await guest.ask(f"more {number}", conversation_id)
            took.append(time.monotonic() - began)
        assert min(took) < 0.4
        own_mongod.start() if fault == "killed" else own_mongod.resume()
        await wait_until(
            lambda: len(guest.all("message:stored")) == 12, "it is drained", timeout=20
        )
        assert len(await guest.transcript(conversation_id)) == 14


async def test_what_was_there_is_told_by_readyz_metrics_and_server_status(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        await guest.ask("two", conversation_id)
        await wait_until(lambda: guest.all("server:status"), "the outage is told")
        assert guest.all("server:status")[-1] == {"memory": "redis", "store": "down"}
        told = await ready(app)
        assert told["status"] == 200
        assert "spool" in told["store"]
        await metric_is(app, "mnemosio_turns_spooled", 1)
        await metric_is(app, "mnemosio_store_up", 0)
        own_mongod.start()
        await wait_until(
            lambda: guest.all("server:status")[-1]["store"] == "ok", "it is back", timeout=15
        )
        await metric_is(app, "mnemosio_turns_spooled", 0)
        await metric_is(app, "mnemosio_turns_drained_total", 1)
        assert (await ready(app))["store"] == "ok"


async def test_what_needs_the_store_says_so_and_works_later(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        conversation_id, turn_id = first["conversation_id"], first["turn_id"]
        own_mongod.kill()
        second = await guest.ask("two", conversation_id)
        calls: list[tuple[str, dict[str, str]]] = [
            ("conversation:rename", {"title": "x"}),
            ("conversation:delete", {}),
            (
                "message:edit",
                {"message_id": new_id(), "new_message_id": new_id(), "content": "x"},
            ),
            ("turn:regenerate", {"turn_id": second["turn_id"], "new_turn_id": new_id()}),
            ("turn:regenerate", {"turn_id": turn_id, "new_turn_id": new_id()}),
        ]
        for name, fields in calls:
            error = await guest.refusal(name, conversation_id=conversation_id, **fields)
            assert (error["code"], error["retryable"]) == ("unavailable", True), (name, error)
        stranger = "00000000-0000-4000-8000-000000000000"
        unknown = await guest.refusal("conversation:open", conversation_id=stranger)
        assert unknown["code"] == "unavailable"
        own_mongod.start()
        await told_stored(guest, [second["message"]["id"]])
        await guest.ok("conversation:rename", conversation_id=conversation_id, title="x")
        await guest.ok("conversation:delete", conversation_id=conversation_id)


async def test_another_user_is_told_nothing_of_a_conversation_that_lodges_here(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest, Client(app.url) as stranger:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        own_mongod.kill()
        await guest.ask("two", conversation_id)
        for name in ("conversation:open", "message:send"):
            fields = {"message_id": new_id(), "content": "x"} if name == "message:send" else {}
            error = await stranger.refusal(name, conversation_id=conversation_id, **fields)
            unknown = await stranger.refusal(name, conversation_id=new_id(), **fields)
            assert error == unknown
            assert error["code"] == "unavailable"
