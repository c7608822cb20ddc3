"""What one user, one address and one connection may have, and what they are told beyond it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import socketio

from server.turns.acceptance import first_conversation_id
from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.health import metric
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

MESSAGES = 24
CALLS = 120
# One grows back in so long, and what is told is rounded up.
MESSAGE_SECONDS = 60 / MESSAGES + 0.01
CALL_SECONDS = 60 / CALLS + 0.01
NAMES = ("message_chars", "messages_per_minute", "calls_per_minute", "queued_turns")


def is_limited(answer: dict[str, Any], longest: float) -> float:
    """How long it is to be waited, of a call that was one too many."""
    error = answer["error"]
    assert (error["code"], error["retryable"]) == ("rate_limited", True), error
    assert "a minute" in error["message"]
    assert 0 < error["retry_after"] <= longest
    return float(error["retry_after"])


async def made_later(
    tab: Client, name: str, call: dict[str, Any], answer: dict[str, Any], longest: float
) -> dict[str, Any]:
    """Its answer, when it is made again after as long as it was told to wait. One that was on its
    way meanwhile may have come first, so it may have to wait once more."""
    for _ in range(3):
        await asyncio.sleep(is_limited(answer, longest))
        answer = await tab.call(name, call)
        if answer["ok"]:
            return answer
    raise AssertionError(answer)


class UsedUp(NamedTuple):
    count: int
    """How often the call was made before it was refused."""
    call: dict[str, Any]
    """One that was refused, and how."""
    answer: dict[str, Any]


async def use_up(name: str, fields: dict[str, Any], *tabs: Client, key: str = "") -> UsedUp:
    """Make this call, each time with a new id for ``key``, until it is one too many."""
    count = 0
    while True:
        calls = [(tab, fields | {key: new_id()}) for tab in tabs for _ in range(4)]
        answers = await asyncio.gather(*(tab.call(name, call) for tab, call in calls))
        limited = [
            (call, answer)
            for (_, call), answer in zip(calls, answers, strict=True)
            if not answer["ok"] and answer["error"]["code"] == "rate_limited"
        ]
        count += len(answers) - len(limited)
        if limited:
            return UsedUp(count, *limited[-1])


async def conversations(tab: Client) -> list[dict[str, Any]]:
    listed = await tab.ok("conversation:list", limit=100)
    found: list[dict[str, Any]] = listed["conversations"]
    return found


async def test_a_users_calls_and_messages_are_limited_on_all_servers_together(
    start_app: StartApp, tmp_path: Path, provider: Provider, redis_server: RedisServer
) -> None:
    settings = with_provider(
        provider,
        REDIS_URL=redis_server.url,
        RATE_LIMIT_MESSAGES_PER_MINUTE=str(MESSAGES),
        RATE_LIMIT_CALLS_PER_MINUTE=str(CALLS),
        MAX_QUEUED_TURNS="0",
    )
    apps = [start_app(tmp_path / "data", **settings) for _ in range(2)]
    async with Client(apps[0].url) as here, Client(apps[1].url, here.token) as there:
        limits = here.session["server"]["limits"]
        assert (limits["messages_per_minute"], limits["calls_per_minute"]) == (MESSAGES, CALLS)
        # Accepted while there was something left: they are free from now on, on any server.
        sending = {"message_id": new_id(), "content": "one"}
        sent = await here.ok("message:send", **sending)
        conversation_id = sent["conversation_id"]
        await here.completed(sent["turn"]["id"])
        editing = {
            "conversation_id": conversation_id,
            "message_id": sending["message_id"],
            "new_message_id": new_id(),
            "content": "two",
        }
        edited = await here.ok("message:edit", **editing)
        await here.completed(edited["turn"]["id"])
        again = {
            "conversation_id": conversation_id,
            "turn_id": edited["turn"]["id"],
            "new_turn_id": new_id(),
        }
        regenerated = await here.ok("turn:regenerate", **again)
        await here.completed(regenerated["turn"]["id"])
        accepted = [
            ("message:send", sending, sent),
            ("message:edit", editing, edited),
            ("turn:regenerate", again, regenerated),
        ]

        async def are_free(*tabs: Client) -> None:
            for tab in tabs:
                for name, call, first in accepted:
                    assert await tab.call(name, call) == first

        # Messages: from both sides at once.
        started = time.monotonic()
        more = {"content": "more"}
        first = await use_up("message:send", more, here, there, key="message_id")
        grown = (time.monotonic() - started) * MESSAGES / 60
        assert MESSAGES - 3 <= first.count <= MESSAGES - 3 + grown + 3
        for tab in (here, there):
            for name, call, key in (
                ("message:edit", editing, "new_message_id"),
                ("turn:regenerate", again, "new_turn_id"),
                ("message:send", more | {"conversation_id": conversation_id}, "message_id"),
            ):
                is_limited((await use_up(name, call, tab, key=key)).answer, MESSAGE_SECONDS)
        refused = first.call
        made = {each["id"] for each in await conversations(there)}
        assert first_conversation_id(here.session["user_id"], refused["message_id"]) not in made
        await are_free(here, there)
        last = await use_up("message:send", refused, there)
        await asyncio.sleep(is_limited(last.answer, MESSAGE_SECONDS))
        # The same call from both at once, when there is enough for one: it is made, and then free.
        race = await asyncio.gather(
            *(tab.call("message:send", refused) for tab in (here, there) for _ in range(3))
        )
        taken = [answer for answer in race if answer["ok"]]
        assert taken
        for answer in race:
            assert answer == taken[0] or is_limited(answer, MESSAGE_SECONDS)
        accepted.append(("message:send", refused, taken[0]))
        await are_free(here, there)

        # Calls: then nothing that is new works, whatever it is.
        nobodys = {"conversation_id": "nobody's"}
        await use_up("conversation:close", nobodys, there)
        for name in ("conversation:open", "no such call"):
            await use_up(name, nobodys, here)
        # Nor what is wrong: not by sending what never could be accepted, either.
        for wrong in ({}, sending | {"content": "something else"}):
            await use_up("message:send", wrong, here)
        await are_free(here, there)
        last = await use_up("conversation:list", {}, here)
        await made_later(here, "conversation:list", {}, last.answer, CALL_SECONDS)
        async with Client(apps[0].url) as somebody_else:
            await somebody_else.ask("and I?")

        # Without Redis each goes on from where it was.
        redis_server.kill()
        last = await use_up("conversation:list", {}, here)
        is_limited(last.answer, CALL_SECONDS)
        await are_free(here, there)
        last = await use_up("message:send", more, here, key="message_id")
        await made_later(here, "message:send", last.call, last.answer, MESSAGE_SECONDS)


async def test_a_connections_calls_keep_their_order_though_each_is_counted_first(
    start_app: StartApp, redis_server: RedisServer
) -> None:
    app = start_app(REDIS_URL=redis_server.url, MAX_CONNECTIONS_PER_ADDRESS="2")
    await no_one_is_believed(app)
    async with Client(app.url) as guest:
        for number in range(8):
            made = await guest.ok("conversation:create")
            conversation_id = made["conversation"]["id"]
            opened, *sent = await asyncio.gather(
                guest.call("conversation:open", {"conversation_id": conversation_id}),
                *(guest.send(f"{number}.{n}", conversation_id) for n in range(2)),
            )
            assert opened["messages"] == []
            assert [each["message"]["seq"] for each in sent] == [1, 3]
        assert not guest.all("conversation:snapshot")  # none was sent before it was open


async def no_one_is_believed(app: App) -> None:
    """Where no proxy is trusted, whatever clients say, all come from here, where two may."""
    first, second = [await connect(app, f"203.0.113.{number}") for number in range(2)]
    data = await refused(app, "203.0.113.3")
    assert (data["code"], "address" in data["message"]) == ("rate_limited", True)
    await first.close()
    await (await connect(app, "203.0.113.3")).close()
    await second.close()


@pytest.fixture
def small(start_app: StartApp, provider: Provider) -> App:
    """A server of which nobody may have much."""
    settings = with_provider(
        provider,
        MAX_CONNECTIONS_PER_USER="3",
        MAX_CONNECTIONS_PER_ADDRESS="5",
        MAX_OPEN_CONVERSATIONS="3",
        MAX_QUEUED_TURNS_PER_USER="3",
        TRUSTED_PROXIES="127.0.0.1",
    )
    return start_app(**settings)


async def test_what_one_user_may_have_here_at_a_time(small: App, provider: Provider) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["so"], gate=gate, gate_after=0)
    async with Client(small.url) as guest:
        limits = guest.session["server"]["limits"]
        assert limits["open_conversations"] == 3
        assert set(limits) == {*NAMES, "open_conversations", "attachments", "attachment_bytes"}

        # Conversations that are followed: all at once, and not one more.
        made = [(await guest.ok("conversation:create"))["conversation"]["id"] for _ in range(6)]
        opening = [{"conversation_id": each} for each in made]
        answers = await asyncio.gather(*(guest.call("conversation:open", it) for it in opening))
        followed = [one for one, each in zip(made, answers, strict=True) if each["ok"]]
        others = [one for one in made if one not in followed]
        assert len(followed) == 3
        new = {"message_id": new_id(), "content": "hello"}
        for name, call in (
            ("conversation:open", {"conversation_id": others[0]}),
            ("message:send", new),
            ("message:send", new | {"conversation_id": others[0]}),
        ):
            error = await guest.refusal(name, **call)
            assert (error["code"], error["retryable"]) == ("busy", True)
            assert "close some" in error["message"]
        assert len(await conversations(guest)) == 6
        await guest.open(followed[0])  # again
        await guest.ok("conversation:close", conversation_id=followed[0])
        sent = await guest.ok("message:send", **new)  # the same call, and it is welcome now

        # Questions that wait, in all conversations.
        busy = sent["conversation_id"]
        waiting = [await guest.send(f"waiting {n}", busy) for n in range(2)]
        running = await guest.send("runs", followed[1])
        await guest.send("waits", followed[1])
        for conversation_id in (busy, followed[1]):
            error = await guest.refusal(
                "message:send",
                message_id=new_id(),
                content="too much",
                conversation_id=conversation_id,
            )
            assert (error["code"], error["retryable"]) == ("busy", True)
            assert "waiting" in error["message"]
        assert (await guest.send("at once", followed[2]))["turn"]["status"] == "running"
        assert (await guest.ok("message:send", **new)) == sent
        await guest.stop(busy, waiting[0]["turn"]["id"])
        await guest.send("there is a place", busy)
        gate.set()
        for each in (sent, waiting[1], running):
            await guest.completed(each["turn"]["id"])


async def connect(app: App, address: str, token: str | None = None) -> Client:
    """As a proxy would for a client at this address."""
    client = Client(app.url, token)
    await client.socket.connect(
        app.url,
        auth={"token": token} if token else {},
        transports=["websocket"],
        headers={"X-Forwarded-For": f"6.6.6.6, {address}"},
        wait_timeout=10,
    )
    client.token = (await client.next_event("session"))["token"]
    return client


async def refused(app: App, address: str, token: str | None = None) -> dict[str, Any]:
    """What a client is told that is not let in."""
    client = Client(app.url, token)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.socket.connect(
            app.url,
            auth={"token": token} if token else {},
            transports=["websocket"],
            headers={"X-Forwarded-For": address},
            wait_timeout=10,
        )
    await client.close()
    data: dict[str, Any] = client.refused["data"]
    return data


async def leave_while_connecting(app: App, address: str, token: str | None) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{app.url}/socket.io/?EIO=4&transport=websocket"
        wire = await session.ws_connect(url, headers={"X-Forwarded-For": address})
        await wire.receive()
        await wire.send_str("40" + (f'{{"token": "{token}"}}' if token else ""))
        assert wire._response.connection is not None
        wire._response.connection.transport.abort()  # type: ignore[union-attr]


async def test_connections_are_counted_while_they_are_there(small: App) -> None:
    first = await connect(small, "203.0.113.1")
    # Of one user, from wherever: as many as may come in at once, and no more.
    tabs = await asyncio.gather(
        *(connect(small, f"203.0.113.{n}", first.token) for n in range(10, 16)),
        return_exceptions=True,
    )
    mine = [first, *(each for each in tabs if isinstance(each, Client))]
    assert len(mine) == 3
    data = await refused(small, "203.0.113.99", first.token)
    assert (data["code"], data["retryable"]) == ("rate_limited", True)
    assert data["retry_after"] > 0
    # Whoever leaves makes room: also without a goodbye, by a cut, and before it was let in.
    await mine.pop().close()
    await mine.pop().vanish()
    for _ in range(10):
        await asyncio.gather(
            *(leave_while_connecting(small, "203.0.113.1", first.token) for _ in range(2))
        )

    async def alone() -> bool:
        return await metric(small, "mnemosio_connections") == 1

    await wait_until(alone, "the others have left")
    mine += [await connect(small, "203.0.113.1", first.token) for _ in range(2)]
    # From one address, whoever it is; an IPv6 network is one.
    for address in ("198.51.100.7", "2001:db8::{}"):
        places = [address.format(number) for number in range(6)]
        there = await asyncio.gather(*(connect(small, place) for place in places[:5]))
        data = await refused(small, places[5])
        assert (data["code"], "address" in data["message"]) == ("rate_limited", True)
        await there[0].close()
        late = await connect(small, places[5])
        await late.ok("conversation:list")
        for each in (late, *there[1:]):
            await each.close()
    for each in mine:
        await each.close()


async def test_a_repeated_message_is_free_also_while_the_store_is_away(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod
) -> None:
    app = start_app(**settings, RATE_LIMIT_MESSAGES_PER_MINUTE="4")
    async with Client(app.url) as guest:
        calls = [{"message_id": new_id(), "content": f"message {n}"} for n in range(4)]
        first = await guest.ok("message:send", **calls[0])
        for call in calls[1:]:
            call["conversation_id"] = first["conversation_id"]
        last = [await guest.ok("message:send", **call) for call in calls[1:]][-1]
        await guest.completed(last["turn"]["id"])
        own_mongod.kill()
        for _ in range(2):
            again = await guest.ok("message:send", **calls[3])
            assert again["turn"]["id"] == last["turn"]["id"]
            is_limited(await guest.call("message:send", {**calls[3], "message_id": new_id()}), 15)
            fresh = {"message_id": new_id(), "content": "a new conversation"}
            is_limited(await guest.call("message:send", fresh), 15)
        own_mongod.start()
