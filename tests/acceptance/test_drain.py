"""A server is stopped in order beside another one: nothing is lost, and nobody stays away."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.acceptance.conftest import StartApp
from tests.support.app import UNLIMITED, App
from tests.support.client import Client
from tests.support.node import JS_FOLDER, require_node
from tests.support.provider import Body, Provider, Script
from tests.support.story import Story, words
from tests.support.wait import wait_until

JS_CLIENT = """
const { io } = require("socket.io-client");
const socket = io(process.argv[1], { transports: ["websocket"] });
const told = (...what) => console.log(...what);
socket.on("connect", () => told("connected"));
socket.on("server:draining", ({ reconnect_in_ms }) => told("draining", reconnect_in_ms));
socket.on("disconnect", (reason) => told("disconnected:", reason));
process.stdin.on("end", () => socket.close()).resume();
"""


@asynccontextmanager
async def javascript_client(url: str) -> AsyncIterator[list[str]]:
    """The stock client for JavaScript; what it prints, line by line."""
    process = await asyncio.create_subprocess_exec(
        *(require_node(), "-e", JS_CLIENT, url),
        cwd=JS_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    lines: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            lines.append(line.decode().strip())

    reading = asyncio.create_task(read())
    try:
        yield lines
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)
        await reading


async def drained(app: App, timeout: float = 20) -> float:
    """Wait for the end of a server that was told to stop; when that was."""
    process = app.process
    assert process is not None

    def wait() -> float:  # by its own clock: the event loop here is busy with who comes back
        assert process.wait(timeout) == 0
        return time.monotonic()

    ended = await asyncio.to_thread(wait)
    app.process = None
    assert "Traceback" not in app.output
    return ended


def is_back(tab: Client) -> bool:
    """Whether it was let in after the last time that it was told to go."""
    return len(tab.all("session")) > len(tab.all("server:draining"))


async def test_fifty_idle_clients_are_let_go_in_two_seconds_and_come_back_by_themselves(
    start_app: StartApp, shared: dict[str, str]
) -> None:
    app = start_app(**shared)
    start_app(**shared)
    tabs = await asyncio.gather(*(Client(app.url, reconnection=True).connect() for _ in range(50)))
    async with javascript_client(app.url) as told:
        await wait_until(lambda: told == ["connected"], "the JavaScript client is there")
        begun = time.monotonic()
        app.signal(signal.SIGTERM)
        assert await drained(app) - begun < 2
        delays = [tab.all("server:draining")[0]["reconnect_in_ms"] for tab in tabs]
        assert len(set(delays)) > 25  # spread, so that they don't come all at once
        assert min(delays) >= 0
        assert max(delays) - min(delays) > 300
        app.start()
        for tab in tabs:
            await wait_until(lambda tab=tab: is_back(tab), "it is back", timeout=30)
        await wait_until(lambda: told[-1:] == ["connected"] and len(told) > 1, "so is the other")
        assert [line.split()[0] for line in told] == [
            *("connected", "draining", "disconnected:", "connected")
        ]
        # "io server disconnect" would be final: the stock clients never return from that.
        assert told[2] in ("disconnected: transport close", "disconnected: transport error")
    for tab in tabs:
        assert tab.socket.connected
        await tab.close()


async def test_what_is_unfinished_after_the_grace_is_begun_by_another_server_within_a_second(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    grace = 0.5

    def respond(body: Body) -> Script:
        if len(provider.chats) == 1:
            return Script(["half ", "never"], gate=asyncio.Event())
        return Script([f"to {body['messages'][-1]['content']}"])

    provider.respond = respond
    stopping = start_app(**shared | {"DRAIN_GRACE_SECONDS": str(grace)})
    other = start_app(**shared)
    guest = await Client(stopping.url).connect()
    async with Client(other.url, guest.token) as across, Client(other.url, guest.token) as back:
        sent = await guest.send("one")
        waiting = await guest.send("two", sent["conversation_id"])
        own, watching = Story(sent["conversation_id"]).on(guest), Story(sent["conversation_id"])
        await watching.open(across)
        for story in (own, watching):
            await story.until(lambda told: told.text(sent["turn"]["id"]) == "half ", "it begins")
        begun = time.monotonic()
        stopping.signal(signal.SIGTERM)
        told = await watching.end_of(waiting["turn"]["id"])
        assert told.contents == ["one", "to one", "two", "to two"]
        assert told.attempts[sent["turn"]["id"]][-1] == 2
        assert told.snapshots == 0
        assert grace < provider.chats[1].at - begun < grace + 1
        assert await drained(stopping) - begun < grace + 2
        # The clients of the stopped server go on at the other one.
        assert guest.all("server:draining")
        assert await own.resume(back) == "replayed"
        told = await own.end_of(waiting["turn"]["id"])
        assert told.contents == ["one", "to one", "two", "to two"]
        assert [request.texts[1:] for request in provider.chats] == [
            *(["one"], ["one"], ["one", "to one", "two"])
        ]
    await guest.close()


async def test_what_runs_is_finished_in_the_grace_for_readers_on_every_server(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(words(40), delay=0.04)
    stopping, other = start_app(**shared), start_app(**shared)
    guest = await Client(stopping.url).connect()
    async with Client(other.url, guest.token) as across:
        sent = await guest.send("tell me")
        own, watching = Story(sent["conversation_id"]).on(guest), Story(sent["conversation_id"])
        await watching.open(across)
        await watching.until(lambda told: told.deltas > 3, "the answer streams")
        stopping.signal(signal.SIGTERM)
        await guest.next_event("server:draining")
        edit = {"message_id": sent["message"]["id"], "new_message_id": "x", "content": "x"}
        again = {"turn_id": sent["turn"]["id"], "new_turn_id": "x"}
        for name, fields in (
            ("message:send", {"message_id": "late", "content": "too late"}),
            ("message:edit", edit),
            ("turn:regenerate", again),
        ):
            refused = await guest.refusal(name, **fields, conversation_id=sent["conversation_id"])
            assert (refused["code"], refused["retryable"]) == ("unavailable", True), name
        # Other servers are not stopped by that.
        later = await across.send("and then?", sent["conversation_id"])
        for story in (own, watching):
            told = await story.end_of(sent["turn"]["id"])
            assert told.ended[sent["turn"]["id"]][1]["message"]["content"] == "".join(words(40))
        await drained(stopping)
        told = await watching.end_of(later["turn"]["id"])
        assert (told.snapshots, told.attempts[later["turn"]["id"]]) == (0, [1])
        assert len(provider.chats) == 2
    await guest.close()


@pytest.mark.parametrize(
    "count", [100, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
async def test_the_many_open_answers_of_a_stopped_server_are_all_finished_by_the_other(
    start_app: StartApp, provider: Provider, shared: dict[str, str], count: int
) -> None:
    grace = 0.5

    def respond(body: Body) -> Script:
        if len(provider.chats) <= count:
            return Script(["half ", "never"], gate=asyncio.Event())
        return Script(["to ", body["messages"][-1]["content"]])

    provider.respond = respond
    # So long a lease that none is lost because so many begin at once.
    settings = shared | {"TURN_LEASE_SECONDS": "20", "DRAIN_GRACE_SECONDS": str(grace)} | UNLIMITED
    stopping, other = start_app(**settings), start_app(**settings)
    guest = await Client(stopping.url).connect()
    async with Client(other.url, guest.token) as across:
        sent, stories = [], []
        for first in range(0, count, 50):
            some = range(first, first + 50)
            sent += await asyncio.gather(*(guest.send(f"question {number}") for number in some))
            stories += [Story(each["conversation_id"]) for each in sent[first:]]
            await asyncio.gather(*(story.open(across) for story in stories[first:]))
        await wait_until(
            lambda: len({d["turn_id"] for d in guest.all("turn:delta")}) == count,
            "each has begun",
            timeout=60,
        )
        begun = time.monotonic()
        stopping.signal(signal.SIGTERM)
        ends = await drained(stopping)
        assert ends - begun < grace + 15
        await wait_until(
            lambda: len(across.all("turn:completed")) == count, "all are finished", timeout=60
        )
        # The first is begun as soon as it is let go (as above: within a second), the others without
        # a pause, as far as a machine with so much to do can tell.
        starts = [request.at for request in provider.chats[count:]]
        assert starts[0] - begun < grace + 5
        pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert max(pauses) < 5
        for each, story in zip(sent, stories, strict=True):
            told = story.told
            question = each["message"]["content"]
            assert told.contents == [question, f"to {question}"]
            assert (told.live, told.snapshots) == ({}, 0)
        histories = await asyncio.gather(
            *(across.contents(each["conversation_id"]) for each in sent)
        )
        assert histories == [story.told.contents for story in stories]
        assert len(provider.chats) == 2 * count
    await guest.close()
