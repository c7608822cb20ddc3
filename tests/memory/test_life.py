"""Opening, closing, telling how it stands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from langchain_core.messages import HumanMessage

import memory as package
from memory import RedisConversationMemory
from memory.environment import EnvironmentMemory
from redislink.session import url_without_password
from tests.memory.conftest import Make
from tests.support.archive import ArchiveInMemory
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

CHECKOUT = Path(__file__).parents[2]

# The test script of docs/redis.md, as printed there.
SCRIPT = """
import asyncio
from memory import conversation_memory


async def test_redis():
    # Add a message
    from langchain_core.messages import HumanMessage

    msg = HumanMessage(content="Test message")
    await conversation_memory.add_message("test_conv", msg)

    # Retrieve history
    history = await conversation_memory.get_conversation_history("test_conv")
    print(f"History: {history}")

    # Clear
    await conversation_memory.clear_conversation("test_conv")
    print("✅ Redis test passed!")


asyncio.run(test_redis())
"""


def run_script(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "REDIS_URL": url, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def test_the_guide_prints_this_script() -> None:
    assert SCRIPT.strip() in (CHECKOUT / "docs" / "redis.md").read_text(encoding="utf-8")


def test_the_script_runs_with_redis_and_leaves_nothing(
    server: RedisServer, keys: redis.Redis
) -> None:
    result = run_script(server.url)
    assert result.returncode == 0, result.stderr
    assert "History: [HumanMessage(content='Test message'" in result.stdout
    assert result.stdout.endswith("✅ Redis test passed!\n")
    assert result.stderr == ""
    assert keys.dbsize() == 0


def test_the_script_runs_without_redis_and_says_so(nowhere: str) -> None:
    result = run_script(nowhere)
    assert result.returncode == 0, result.stderr
    assert "History: [HumanMessage(content='Test message'" in result.stdout
    assert result.stdout.endswith("✅ Redis test passed!\n")
    [line] = result.stderr.splitlines()
    assert line.startswith("⚠️ Redis connection failed, using in-memory fallback: ")


@pytest.mark.parametrize("has_redis", [True, False])
def test_it_works_in_one_event_loop_after_another(
    server: RedisServer, nowhere: str, has_redis: bool
) -> None:
    memory = RedisConversationMemory(redis_url=server.url if has_redis else nowhere)
    for n in range(3):
        asyncio.run(memory.add_message("c", HumanMessage(str(n))))
    history = asyncio.run(memory.get_conversation_history("c"))
    assert [message.content for message in history] == ["0", "1", "2"]


@pytest.mark.parametrize("has_redis", [True, False])
async def test_it_can_be_closed_and_used_again(
    server: RedisServer, nowhere: str, has_redis: bool
) -> None:
    memory = RedisConversationMemory(redis_url=server.url if has_redis else nowhere)
    await memory.close()
    for n in range(3):
        await memory.add_message("c", HumanMessage(str(n)))
        await memory.close()
        await memory.close()
        assert memory.state == "local"
    assert len(await memory.get_conversation_history("c")) == 3
    await memory.close()


async def test_closing_closes_every_connection(server: RedisServer, keys: redis.Redis) -> None:
    memory = RedisConversationMemory(redis_url=server.url)
    await asyncio.gather(*(memory.register_turn(f"c{n}") for n in range(500)))
    assert 2 <= len(keys.client_list()) <= 21
    await memory.close()
    await wait_until(lambda: len(keys.client_list()) == 1, "only the test's own is left")


def test_importing_opens_nothing() -> None:
    assert package.conversation_memory.state == "local"
    assert isinstance(package.conversation_memory, RedisConversationMemory)


async def test_the_environment_is_read_on_first_use(
    server: RedisServer, keys: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = EnvironmentMemory()
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("MEMORY_MAX_MESSAGES", "2")
    monkeypatch.setenv("MEMORY_TTL_HOURS", "1")
    for n in range(4):
        await memory.add_message("c", HumanMessage(str(n)))
    assert keys.llen("conversation:messages:c") == 2
    assert 3590 <= keys.ttl("conversation:messages:c") <= 3600
    await memory.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEMORY_MAX_MESSAGES", "many"),
        ("MEMORY_MAX_MESSAGES", "0"),
        ("MEMORY_TTL_HOURS", "-1"),
        ("MEMORY_TTL_HOURS", "nan"),
        ("MEMORY_TTL_HOURS", "a day"),
    ],
)
async def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        await EnvironmentMemory().connect()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost:port"])
async def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        await RedisConversationMemory(redis_url=url).connect()


@pytest.mark.parametrize("options", [{"max_messages_per_conversation": 0}, {"ttl_hours": 0}])
def test_a_bad_bound_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        RedisConversationMemory(**options)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@host:1/2", "redis://host:1/2"),
        ("redis://ada:secret@host:1/2", "redis://ada@host:1/2"),
        (
            "rediss://ada:s%40cret@host/0?ssl_cert_reqs=none",
            "rediss://ada@host/0?ssl_cert_reqs=none",
        ),
        ("redis://host/0?password=secret&db=3", "redis://host/0?db=3"),
        ("rediss://host?ssl_password=secret", "rediss://host"),
        ("rediss://host?ssl_ca_certs=/etc/ca.pem", "rediss://host?ssl_ca_certs=/etc/ca.pem"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert url_without_password(url) == shown


async def test_connecting_is_logged_without_the_password(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with RedisServer("--requirepass", "secret") as server:
        memory = make(redis_url=f"redis://:secret@127.0.0.1:{server.port}/0")
        await memory.connect()
        assert memory.state == "redis"
        assert memory.description == f"Redis at redis://127.0.0.1:{server.port}/0"
    line = f"✅ Redis conversation memory connected: redis://127.0.0.1:{server.port}/0"
    assert line in [record.getMessage() for record in caplog.records]
    assert "secret" not in caplog.text


async def test_a_wrong_password_falls_back(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer("--requirepass", "secret") as server:
        memory = make(redis_url=f"redis://:guess@127.0.0.1:{server.port}/0")
        await memory.connect()
        assert memory.state == "local"
    assert "⚠️ Redis connection failed, using in-memory fallback: " in caplog.text
    assert "guess" not in caplog.text


async def test_every_change_of_state_is_told(make: Make, own_server: RedisServer) -> None:
    told: list[str] = []
    memory = make(redis_url=own_server.url, on_change=told.append)
    await memory.connect()
    assert (told, memory.state) == ([], "redis")
    own_server.kill()
    await memory.register_turn("c")
    assert (told, memory.state) == (["local"], "local")
    assert "this process" in memory.description
    own_server.start()
    await wait_until(lambda: told == ["local", "redis"], "the return was told")
    assert memory.state == "redis"


async def test_an_outage_is_warned_of_once(
    make: Make, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    memory = make(redis_url=own_server.url)
    await memory.connect()
    own_server.kill()
    await asyncio.gather(*(memory.register_turn(f"c{n}") for n in range(100)))
    assert caplog.text.count("⚠️ Redis connection failed") == 1


@pytest.mark.parametrize(
    ("options", "alone", "archived"),
    [
        ([], ["appendonly yes"], []),
        (["--appendonly", "yes"], [], []),
        (["--appendonly", "yes", "--appendfsync", "no"], ["appendfsync everysec"], []),
        (["--maxmemory", "50mb"], ["appendonly yes"], ["maxmemory-policy volatile-ttl"]),
        (
            ["--appendonly", "yes", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"],
            ["maxmemory-policy noeviction"],
            ["maxmemory-policy volatile-ttl"],
        ),
        (
            ["--appendonly", "yes", "--maxmemory", "50mb", "--maxmemory-policy", "volatile-ttl"],
            ["maxmemory-policy noeviction"],
            [],
        ),
        (["--rename-command", "CONFIG", ""], [], []),
    ],
)
async def test_a_configuration_that_undermines_it_is_warned_of(
    make: Make,
    archive: ArchiveInMemory,
    options: list[str],
    alone: list[str],
    archived: list[str],
) -> None:
    with RedisServer(*options) as server:
        for memory, expected in (
            (make(redis_url=server.url), alone),
            (make(redis_url=server.url, archive=archive), archived),
        ):
            warnings = await memory.warnings()
            assert len(warnings) == len(expected)
            for warning, setting in zip(warnings, expected, strict=True):
                assert warning.endswith(f"set {setting}.")
            assert memory.state == "redis"


async def test_without_redis_there_is_nothing_to_warn_of(make: Make, nowhere: str) -> None:
    assert await make(redis_url=nowhere).warnings() == []


async def test_eviction_never_leaves_a_partial_conversation_readable(
    make: Make, archive: ArchiveInMemory
) -> None:
    with RedisServer("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru") as server:
        memory = make(redis_url=server.url, archive=archive)
        names = [f"c{n}" for n in range(600)]
        for name in names:
            archive.fill(name, 5)
            archive.answer(name, archive.ask(name, "x" * 3000)[1].turn)
            await memory.read(name)
        with redis.Redis(port=server.port) as client:
            assert client.info("stats")["evicted_keys"] > 0
        for name in names:
            question, asked = archive.ask(name)
            await memory.remember(name, question, asked)
            transcript = await memory.read(name, at_least=asked)
            assert transcript.messages == archive.messages(name)
            assert transcript.position == asked
        assert memory.state == "redis"
