"""Starting, watching and stopping the server, as an operator does."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import HOME
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_start_tells_what_is_in_force(start_app: StartApp) -> None:
    app = start_app()
    wanted = [
        "⚠️ Redis connection failed, using in-memory fallback: ",
        f"http://127.0.0.1:{app.port}",
        "offline demo model",
        "guests (anyone)",
        str(app.data_dir),
    ]
    for text in wanted:
        assert text in app.output
    assert app.stop() == 0
    assert "Traceback" not in app.output


def test_health_and_readiness_are_told_over_http(start_app: StartApp) -> None:
    app = start_app()
    assert get(f"{app.url}/healthz")[0] == 200
    status, body = get(f"{app.url}/readyz")
    ready = json.loads(body)
    assert status == 200
    assert ready["ready"] is True
    assert set(ready) == {"ready", "redis", "store", "feed", "model"}
    assert get(f"{app.url}/nowhere")[0] == 404


async def test_readiness_and_clients_hear_that_the_store_is_away_and_back(
    start_app: StartApp, provider: Provider, mongod: Mongod
) -> None:
    app = start_app(
        **with_provider(provider, MONGODB_URI=mongod.uri, MONGODB_DATABASE="acceptance_ready")
    )
    async with Client(app.url) as guest:
        asked = await guest.ask("before")
        mongod.kill()
        try:
            await wait_until(
                lambda: {"memory": "local", "store": "down"} in guest.all("server:status"),
                "clients are told",
                timeout=15,
            )
            # It accepts messages, into its spool.
            assert get(f"{app.url}/readyz")[0] == 200
            refusal = await guest.refusal("conversation:list")
            assert (refusal["code"], refusal["retryable"]) == ("unavailable", True)
        finally:
            mongod.start()
        await wait_until(
            lambda: guest.all("server:status")[-1]["store"] == "ok", "it is back", timeout=20
        )
        assert get(f"{app.url}/readyz")[0] == 200
        await guest.ask("after", asked["conversation_id"])


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_with_idle_clients_is_quick_and_they_are_told(
    start_app: StartApp, stop: signal.Signals
) -> None:
    app = start_app()
    clients = await asyncio.gather(*(Client(app.url).connect() for _ in range(50)))
    begun = time.monotonic()
    app.signal(stop)
    assert app.process is not None
    assert await asyncio.to_thread(app.process.wait, 10) == 0
    assert time.monotonic() - begun < 4  # 44 s is what it takes without care
    app.process = None
    for client in clients:
        assert client.all("server:draining")[0]["reconnect_in_ms"] >= 0
        await wait_until(lambda tab=client: not tab.socket.connected, "it is let go")
        await client.socket.shutdown()
    assert "Traceback" not in app.output
    assert "never retrieved" not in app.output


async def test_a_running_answer_gets_its_time_when_the_server_stops(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["almost ", "done"], gate=gate)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        sent = await guest.send("finish this")
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        app.signal(signal.SIGTERM)
        await guest.next_event("server:draining")
        refusal = await guest.refusal("message:send", message_id="late", content="too late")
        assert (refusal["code"], refusal["retryable"]) == ("unavailable", True)
        gate.set()
        completed = await guest.completed(sent["turn"]["id"])
        assert completed["message"]["content"] == "almost done"
    assert app.process is not None
    assert await asyncio.to_thread(app.process.wait, 10) == 0


async def test_an_answer_that_takes_too_long_is_handed_over(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    settings = with_provider(provider, DRAIN_GRACE_SECONDS="0.2")
    app = start_app(tmp_path / "data", **settings)
    guest = await Client(app.url).connect()
    sent = await guest.send("finish this")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    assert await asyncio.to_thread(app.stop) == 0
    provider.respond = lambda body: Script(["a whole ", "answer"])
    app = start_app(tmp_path / "data", **settings)
    async with Client(app.url, guest.token) as back:
        opened = await back.ok("conversation:open", conversation_id=sent["conversation_id"])
        if opened["turns"]:
            await back.completed(sent["turn"]["id"])
        history = await back.ok("conversation:history", conversation_id=sent["conversation_id"])
        assert [message["content"] for message in history["messages"]] == [
            "finish this",
            "a whole answer",
        ]


def started_wrongly(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HOME / "main.py")],
        env={"PATH": "", "DATA_DIR": str(tmp_path / "data"), "PORT": "0", **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_taken_port_is_told_in_one_line(start_app: StartApp, tmp_path: Path) -> None:
    app = start_app()
    ended = started_wrongly(tmp_path, PORT=str(app.port), REDIS_URL="redis://127.0.0.1:1/0")
    assert ended.returncode == 1
    [line] = [line for line in ended.stderr.splitlines() if "can't start" in line]
    assert f"PORT {app.port}: address already in use." in line
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [("PORT", "many"), ("MEMORY_TTL_HOURS", "-1"), ("REDIS_URL", "http://x"), ("WORKERS", "many")],
)
def test_a_bad_setting_stops_the_start_in_one_line(
    tmp_path: Path, setting: str, value: str
) -> None:
    ended = started_wrongly(tmp_path, **{setting: value})
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert setting in line
    assert value in line


def test_a_mongodb_that_refuses_the_login_is_told_in_one_line(
    mongod: Mongod, tmp_path: Path
) -> None:
    uri = f"mongodb://user:hunter2@127.0.0.1:{mongod.port}/"
    ended = started_wrongly(tmp_path, MONGODB_URI=uri, LOG_LEVEL="debug")
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert f"127.0.0.1:{mongod.port}" in line
    assert "refuses the login" in line
    assert "hunter2" not in ended.stderr


def test_a_mongodb_that_cant_be_reached_is_told_and_stops_nothing(start_app: StartApp) -> None:
    app = start_app(MONGODB_URI="mongodb://user:hunter2@127.0.0.1:1/", LOG_LEVEL="debug")
    assert "what is said is kept in the spool" in app.output
    assert app.stop() == 0
    assert "hunter2" not in app.output
    assert "Traceback" not in app.output


def test_a_wrong_redis_password_is_told_in_one_line_and_stops_nothing(
    start_app: StartApp, redis_server: RedisServer
) -> None:
    url = f"redis://user:hunter2@127.0.0.1:{redis_server.port}/0"
    app = start_app(REDIS_URL=url, LOG_LEVEL="debug")
    assert app.output.count("⚠️ Redis connection failed, using in-memory fallback: ") == 1
    assert app.stop() == 0
    assert "hunter2" not in app.output
    assert "Traceback" not in app.output


def test_a_data_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    ended = started_wrongly(tmp_path)
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr
    assert "DATA_DIR" in ended.stderr


async def test_clients_hear_that_redis_is_away_also_while_nobody_writes(
    start_app: StartApp, redis_server: RedisServer
) -> None:
    app = start_app(REDIS_URL=redis_server.url)
    async with Client(app.url) as guest:
        redis_server.kill()
        assert await guest.next_event("server:status") == {"memory": "local", "store": "ok"}
        assert json.loads(get(f"{app.url}/readyz")[1])["redis"].startswith("away")
        redis_server.start()
        await wait_until(
            lambda: guest.all("server:status")[-1] == {"memory": "redis", "store": "ok"},
            "Redis is in use again",
        )
