"""WORKERS above 1: several processes are one server, on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until
from tests.support.workers import (
    BANNER,
    alive,
    all_ready,
    by_worker,
    connected_to,
    measures,
    pids,
    rss,
    serving,
)

# What nobody wants to read in a log, with all warnings on.
CARELESS = ("Traceback", "ResourceWarning", "never awaited", "never retrieved", "was destroyed")

# A connect of PyMongo's that is called off, as its monitors' are when it closes, leaves its socket
# to the garbage collector (``_async_create_connection`` closes it on an OSError only). The second
# line comes after each such warning, also after those that count.
PYMONGOS_SOCKET = (
    "ResourceWarning: unclosed <socket.socket",
    "ResourceWarning: Enable tracemalloc to get",
)


def careless(app: App) -> list[str]:
    """The lines of its output with one of those words, each with the one after it."""
    lines = app.output.splitlines()
    return [
        "\n".join(lines[place : place + 2])
        for place, line in enumerate(lines)
        if any(word in line for word in CARELESS)
        and not any(words in line for words in PYMONGOS_SOCKET)
    ]


async def ended(app: App, timeout: float = 20) -> int:
    """Wait for the end of a server that was told to stop; its exit code."""
    assert app.process is not None
    code = await asyncio.to_thread(app.process.wait, timeout)
    app.process = None
    return code


def refused(app: App) -> tuple[int, list[str]]:
    """The exit code of a start that fails, and the lines that say why."""
    with pytest.raises(AssertionError, match="ended at its start"):
        app.start()
    assert app.process is not None
    code = app.process.returncode
    app.process = None
    return code, [line for line in app.output.splitlines() if "can't start" in line]


async def test_three_workers_are_one_server_and_outlive_one_of_them(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    gate = asyncio.Event()
    app = start_app(**shared, WORKERS="3")
    await all_ready(app)
    assert app.output.count(BANNER) == 1
    assert "  workers 3\n" in app.output
    assert app.process is not None
    assert rss(app.process.pid) < 80_000_000 < rss(pids(app)[1])

    # Connections are spread: with 60 for 3 the chance that one gets fewer than 6 is one in 100,000.
    crowd = await asyncio.gather(*(Client(app.url).connect() for _ in range(60)))
    spread = by_worker(await measures(app), "mnemosio_connections")
    assert sum(spread.values()) == 60
    assert min(spread.values()) >= 6
    await asyncio.gather(*(client.close() for client in crowd))

    # Whoever is asked tells of all, in one text that Prometheus can read.
    for _ in range(6):
        text = await measures(app)
        assert set(by_worker(text, "mnemosio_connections")) == {1, 2, 3}
        assert by_worker(text, "mnemosio_worker_up") == {1: 1, 2: 1, 3: 1}
        families = [family.name for family in text_string_to_metric_families(text)]
        assert len(families) == len(set(families))

    # A tab at one worker sees what another answers.
    watching = await connected_to(app, 2)
    asking = await connected_to(app, 1, watching.token, reconnection=True)
    sent = await asking.send("hello")
    conversation_id = sent["conversation_id"]
    await watching.open(conversation_id)
    assert (await watching.completed(sent["turn"]["id"]))["message"]["content"] == "echo: hello"

    # It goes on when its worker dies in the middle of an answer.
    provider.respond = lambda body: Script(["half ", "never"], gate=gate)
    killed = pids(app)[1]
    sent = await asking.send("and now?", conversation_id)
    await wait_until(
        lambda: watching.all("turn:delta", turn_id=sent["turn"]["id"]), "the answer begins"
    )
    provider.respond = lambda body: Script(["whole"])
    os.kill(killed, signal.SIGKILL)
    end = await watching.completed(sent["turn"]["id"])
    assert end["message"]["content"] == "whole"
    await wait_until(lambda: len(asking.all("session")) == 2, "its client is back")
    assert await asking.contents(conversation_id) == ["hello", "echo: hello", "and now?", "whole"]
    await wait_until(
        lambda: "A worker is ready." in app.output, "there are three again", timeout=60
    )
    assert "A worker ended, and is started again.  worker=1 how=SIGKILL" in app.output
    assert pids(app)[1] != killed
    again = by_worker(await measures(app), "mnemosio_worker_restarts_total")
    assert again == {1: 1, 2: 0, 3: 0}

    # All are stopped at once, and the next server is found by whom they had.
    processes = pids(app).values()
    begun = time.monotonic()
    app.signal(signal.SIGTERM)
    await asking.next_event("server:draining")
    await watching.next_event("server:draining")
    assert await ended(app) == 0
    assert time.monotonic() - begun < 10
    assert not alive(processes)
    # That is one process, and with all of Python's warnings on it has none, nor had they.
    app.settings |= {"WORKERS": "1", "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "always"}
    app.start()
    await wait_until(lambda: len(asking.all("session")) == 3, "it is at the next server")
    provider.respond = lambda body: Script(["on ", "its ", "way"], delay=0.2)
    await asking.send("more", conversation_id)
    assert await asyncio.to_thread(app.stop) == 0
    assert careless(app) == []
    await asking.socket.disconnect()
    await asking.socket.shutdown()
    await watching.socket.shutdown()


async def test_polling_is_refused_and_says_why(start_app: StartApp, provider: Provider) -> None:
    """And workers without Redis, on one SQLite file, with all warnings on."""
    app = start_app(**with_provider(provider), WORKERS="2", PYTHONDEVMODE="1")
    await all_ready(app)
    assert app.output.count("Redis can't be reached, and workers tell each other") == 1
    polling = f"{app.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session, session.get(polling) as response:
        assert response.status == 400
        assert 'transports: ["websocket"]' in await response.text()

    # The port is taken, for a server of either kind, in a line and at once.
    code, lines = refused(App(app.data_dir, PORT=str(app.port), WORKERS="2"))
    [line] = lines
    taken = f"Mnemosio can't start: HOST 127.0.0.1, PORT {app.port}: address already in use. "
    assert code == 1
    assert line.startswith(taken)

    # One file for both, and the feeds by way of it.
    asking = await connected_to(app, 1)
    watching = await connected_to(app, 2, asking.token)
    provider.respond = lambda _: Script(["echo: ", "hello"], delay=0.5)
    sent = await asking.send("hello")
    await watching.open(sent["conversation_id"])
    ended_turn = await watching.ended(sent["turn"]["id"])
    assert ended_turn[1]["message"]["content"] == "echo: hello"

    # Who looks after the workers is killed: they end by themselves, and the port is free again.
    processes = list(pids(app).values())
    assert len(alive(processes)) == 2
    app.kill()
    await wait_until(lambda: not alive(processes), "no process is left behind", timeout=20)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", app.port))
    for client in (asking, watching):
        assert client.all("server:draining")
        await client.socket.shutdown()
    assert careless(app) == []


async def test_workers_are_renewed_one_by_one_and_ended_at_once_when_asked_twice(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider), WORKERS="2")
    await all_ready(app)
    guest = await connected_to(app, 1, reconnection=True)
    before = pids(app)
    app.signal(signal.SIGHUP)
    await wait_until(lambda: len(guest.all("session")) == 2, "it is sent to the other worker")
    assert serving(app, guest) == 2
    await wait_until(
        lambda: "All workers were started again." in app.output, "both are new", timeout=60
    )
    after = pids(app)
    assert set(after) == {1, 2}
    assert not set(before.values()) & set(after.values())
    assert "A worker ended" not in app.output  # that would be by itself

    # An answer that would take for ever is not waited for.
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    await wait_until(lambda: guest.socket.connected, "it is back")
    await guest.send("finish this")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    told = len(guest.all("server:draining"))
    app.signal(signal.SIGINT)
    await wait_until(lambda: len(guest.all("server:draining")) > told, "it is told")
    # A service manager signals everybody at once: for a worker that is not the second time. The one
    # that answers nothing may have ended by now.
    for pid in alive(after.values()):
        os.kill(pid, signal.SIGINT)
    assert (await guest.ok("conversation:list"))["conversations"]
    assert alive(after.values())
    app.signal(signal.SIGINT)
    assert await ended(app, 3) == 128 + signal.SIGINT
    await wait_until(lambda: not alive(after.values()), "all have ended", timeout=3)
    await guest.socket.disconnect()
    await guest.socket.shutdown()


def test_workers_that_cannot_start_end_it_all_with_their_reason_once(
    mongod: Mongod, tmp_path: Path
) -> None:
    uri = f"mongodb://user:hunter2@127.0.0.1:{mongod.port}/"
    code, lines = refused(App(tmp_path / "data", WORKERS="2", MONGODB_URI=uri))
    assert code == 1
    [line] = lines
    assert "refuses the login" in line
