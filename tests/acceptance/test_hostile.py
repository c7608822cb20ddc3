"""Clients that mean harm, or know no better: they are borne, and cost nobody else anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.process import connections_of, resident_mb
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until

SOCKET = "/socket.io/?EIO=4&transport=websocket"


class Raw:
    """A websocket without a Socket.IO library: it may say anything."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, text: str) -> None:
        await self.socket.send_str(text)

    async def hear(self, start: str, *, timeout: float = 5.0) -> str:
        """The next packet that begins so; pings are answered."""
        async with asyncio.timeout(timeout):
            while True:
                text: str = await self.socket.receive_str()
                if text == "2":
                    await self.say("3")
                elif text.startswith(start):
                    return text

    async def call(self, number: int, *data: Any) -> dict[str, Any]:
        await self.say(f"42{number}{json.dumps(data)}")
        answer = await self.hear(f"43{number}[")
        body: dict[str, Any] = json.loads(answer[2 + len(str(number)) :])[0]
        return body


@asynccontextmanager
async def raw(app: App, *, connect: bool = True) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session, session.ws_connect(app.url + SOCKET) as socket:
        stranger = Raw(socket)
        await stranger.hear("0{")
        if connect:
            await stranger.say("40")
            await stranger.hear("40{")
            await stranger.hear('42["session"')
        yield stranger


PACKETS = [
    *(
        "4",
        "49",
        "4x",
        "42",
        "42[",
        "42[]",
        "42{}",
        "42null",
        '42"text"',
        "421",
        "421[]",
    ),
    *('42["message:send"', "42[1]", "42[null]", "42[[]]", '42[{"a":1}]', "421[[]]", "421[{}]"),
    *("42/elsewhere,[]", '42/elsewhere,1["message:send",{}]', "40/elsewhere", "41/elsewhere"),
    *(
        "43",
        "431[]",
        '43999["x"]',
        "43/elsewhere,1[]",
        "44",
        "44{}",
        "48[]",
        "5",
        "2probe",
        "6",
    ),
    *(
        "42" + "9" * 50 + '["message:send",{}]',
        "42-1[]",
        "42NaN",
        "451-",
        "45999999999-[]",
        "45-1[]",
        "42[NaN]",
        '42["a",1e999]',
    ),
    "421" + "[" * 100_000,
    '421["message:send",' + "[" * 800 + "]" * 800 + "]",
    "421[" + "[" * 990 + "]" * 990 + "]",
    '421["message:send",{"message_id":' + "[" * 500 + '"\\ud800"' + "]" * 500 + "}]",
    '421["message:send",{"message_id":' + "9" * 5000 + "}]",
    '421["' + "n" * 500_000 + '",{}]',
    '421["message:send",{"__proto__":{"x":1},"constructor":1,"message_id":{"$gt":""}}]',
]


async def test_no_packet_ends_the_connection_or_anything_else(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with raw(app) as stranger:
        for place, packet in enumerate(PACKETS):
            await stranger.say(packet)
            answer = await stranger.call(1000 + place, "conversation:list", {})
            assert answer["ok"], packet[:60]
        # What is not even Engine.IO ends its own connection.
        for packet in ("", "x", "9"):
            async with raw(app) as other:
                await other.say(packet)
                with pytest.raises(TypeError):
                    await other.hear("430[")
        assert (await stranger.call(1, "conversation:list", {}))["ok"]
    await wait_until(lambda: connections_of(app) == 0, "the server let go of all sockets")
    assert "Traceback" not in app.output


async def test_a_second_connect_on_one_socket_changes_nothing(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with raw(app) as stranger:
        for _ in range(5):
            await stranger.say("40")
        assert (await stranger.call(1, "conversation:list", {}))["ok"]
        sent = await stranger.call(2, "message:send", {"message_id": "m", "content": "hello"})
        assert sent["ok"]
        completed = json.loads((await stranger.hear('42["turn:completed"'))[2:])[1]
        assert completed["message"]["content"] == "echo: hello"
    assert "Traceback" not in app.output


async def test_thousands_of_calls_at_once_are_all_answered_and_others_are_served_meanwhile(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, RATE_LIMIT_CALLS_PER_MINUTE="0"))
    async with raw(app) as stranger, Client(app.url) as guest:
        for number in range(5000):
            await stranger.say(f'42{number}["conversation:open",{{"conversation_id":"x{number}"}}]')
        completed = await guest.ask("am I served?", timeout=10)
        assert completed["message"]["content"] == "echo: am I served?"
        answered = set()
        while len(answered) < 5000:
            text = await stranger.hear("43", timeout=20)
            answered.add(text[2 : text.index("[")])
            assert '"not_found"' in text


async def test_one_socket_may_follow_two_thousand_conversations(
    start_app: StartApp, provider: Provider
) -> None:
    off = {"RATE_LIMIT_CALLS_PER_MINUTE": "0", "MAX_OPEN_CONVERSATIONS": "0"}
    app = start_app(**with_provider(provider, **off))
    async with Client(app.url) as guest:
        made = []
        for _ in range(20):
            made += await asyncio.gather(
                *(guest.ok("conversation:create", conversation_id=new_id()) for _ in range(100))
            )
        before = resident_mb(app)
        for first in range(0, 2000, 100):
            await asyncio.gather(
                *(
                    guest.ok("conversation:open", conversation_id=each["conversation"]["id"])
                    for each in made[first : first + 100]
                )
            )
        assert resident_mb(app) - before < 40
        completed = await guest.ask("still here?", made[1234]["conversation"]["id"])
        assert completed["message"]["content"] == "echo: still here?"


async def test_storms_of_connections_leave_nothing_behind(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    held = connections_of(app)

    async def visit(number: int) -> None:
        """Some say hello, some never do, some go in the middle, some follow and stream."""
        kind = number % 4
        async with raw(app, connect=kind > 1) as stranger:
            if kind == 1:
                await stranger.say("40")
            elif kind == 2:
                await stranger.call(1, "conversation:list", {})
            elif kind == 3:
                await stranger.call(1, "message:send", {"message_id": "m", "content": "hello"})
            if number % 8 > 3:
                stranger.socket._response.connection.transport.abort()  # type: ignore[union-attr]

    async def storm() -> None:
        for first in range(0, 400, 40):
            await asyncio.gather(*(visit(number) for number in range(first, first + 40)))
        await wait_until(lambda: connections_of(app) <= held, "the server let go of all sockets")

    await storm()
    before = resident_mb(app)
    for _ in range(3):
        await storm()
    assert resident_mb(app) - before < 25
    async with Client(app.url) as guest:
        await guest.ask("still here?")
    assert "Traceback" not in app.output


async def test_a_message_of_nearly_a_packet_is_answered_and_a_larger_packet_ends_only_its_sender(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, MAX_MESSAGE_CHARS="0"))
    provider.respond = lambda body: Script(["fine"])
    async with Client(app.url) as guest:
        sent = await guest.send("x" * 900_000)
        await guest.completed(sent["turn"]["id"])
        async with raw(app) as stranger:
            await stranger.say("421" + json.dumps(["message:send", {"content": "x" * 1_100_000}]))
            with pytest.raises((TypeError, TimeoutError, ConnectionError)):
                await stranger.hear("431")
            assert stranger.socket.closed
        history = await guest.ok("conversation:history", conversation_id=sent["conversation_id"])
        assert len(history["messages"][0]["content"]) == 900_000


CYCLES = 2000


async def test_two_thousand_clients_that_come_and_go_leave_nothing(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    clients: Iterator[int]

    async def come_and_go(http: aiohttp.ClientSession) -> None:
        for number in clients:
            async with http.ws_connect(app.url + SOCKET) as socket:
                stranger = Raw(socket)
                await stranger.say("40")
                await stranger.hear('42["session"')
                if number % 4 == 0:
                    assert (await stranger.call(1, "conversation:list", {}))["ok"]

    async def cycles(count: int) -> None:
        nonlocal clients
        clients = iter(range(count))
        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(come_and_go(http) for _ in range(20)))
        await wait_until(lambda: connections_of(app) == 0, "the server let go of all sockets")

    await cycles(300)
    before = resident_mb(app)
    await cycles(CYCLES)
    grown = resident_mb(app) - before
    # 4 kB a client: what the allocator keeps. One that stays costs some 30.
    assert grown < 8, grown
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}/metrics") as measures:
        assert "mnemosio_connections 0.0" in (await measures.text()).splitlines()
    assert "Traceback" not in app.output
