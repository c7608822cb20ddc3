"""What is remembered through restarts, emptied caches and absent services."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


def redis_command(server: RedisServer, *arguments: str) -> Any:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.execute_command(*arguments)


def everything_in(mongod: Mongod, database: str) -> str:
    """Every document of every collection, as text."""
    with mongod.client() as client:
        found = client[database]
        return str([list(found[name].find()) for name in found.list_collection_names()])


async def asked_with_context(
    provider: Provider, url: str, token: str, conversation_id: str
) -> None:
    """A further question is answered with everything that was said before."""
    async with Client(url, token) as back:
        opened = await back.ok("conversation:open", conversation_id=conversation_id)
        assert [message["content"] for message in opened["messages"]][:2] == [
            "my name is Ada",
            "echo: my name is Ada",
        ]
        await back.ask("what is my name?", conversation_id)
    texts = provider.chats[-1].texts
    assert texts[1:3] == ["my name is Ada", "echo: my name is Ada"]
    assert texts[-1] == "what is my name?"


async def test_context_survives_restart_and_flush_and_both_with_redis_and_mongodb(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, mongod: Mongod
) -> None:
    settings = with_provider(
        provider,
        REDIS_URL=redis_server.url,
        MONGODB_URI=mongod.uri,
        MONGODB_DATABASE="acceptance_context",
    )
    app = start_app(**settings)
    async with Client(app.url) as guest:
        first = await guest.ask("my name is Ada")
        token, conversation_id = guest.token, first["conversation_id"]
    assert token is not None
    assert app.stop() == 0

    app = start_app(**settings)  # another machine, as far as it knows: its own DATA_DIR
    await asked_with_context(provider, app.url, token, conversation_id)

    redis_command(redis_server, "FLUSHALL")
    await asked_with_context(provider, app.url, token, conversation_id)

    app.kill()
    redis_command(redis_server, "FLUSHALL")
    app = start_app(**settings)
    await asked_with_context(provider, app.url, token, conversation_id)


async def test_no_services_at_all_and_killed_forgets_nothing(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    app = start_app(data_dir, **with_provider(provider))
    async with Client(app.url) as guest:
        first = await guest.ask("my name is Ada")
        token, conversation_id = guest.token, first["conversation_id"]
    assert token is not None
    app.kill()
    app = start_app(data_dir, **with_provider(provider))
    await asked_with_context(provider, app.url, token, conversation_id)


async def test_an_answer_cut_off_by_sigkill_is_given_after_the_restart(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    app = start_app(tmp_path / "data", **with_provider(provider))
    guest = await Client(app.url).connect()
    sent = await guest.send("answer me")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    app.kill()
    provider.respond = lambda body: Script(["the whole ", "answer"])
    app = start_app(tmp_path / "data", **with_provider(provider))
    async with Client(app.url, guest.token) as back:

        async def answered() -> list[dict[str, object]]:
            history = await back.ok("conversation:history", conversation_id=sent["conversation_id"])
            messages: list[dict[str, object]] = history["messages"]
            return messages[1:]

        [answer] = await wait_until(answered, "the turn is taken over", timeout=5)
        assert answer["content"] == "the whole answer"
    assert provider.chats[-1].texts[1:] == ["answer me"]


async def test_a_chat_goes_on_while_redis_comes_and_goes(
    start_app: StartApp, provider: Provider, redis_server: RedisServer
) -> None:
    app = start_app(**with_provider(provider, REDIS_URL=redis_server.url))
    async with Client(app.url) as guest:
        assert guest.all("server:status") == []
        conversation_id = (await guest.ask("one"))["conversation_id"]
        redis_server.kill()
        await guest.ask("two", conversation_id)
        status = await guest.next_event("server:status")
        assert status == {"memory": "local", "store": "ok"}
        redis_server.start()
        await wait_until(
            lambda: guest.all("server:status")[-1] == {"memory": "redis", "store": "ok"},
            "Redis is in use again",
            timeout=5,
        )
        await guest.ask("three", conversation_id)
        said = ["one", "echo: one", "two", "echo: two", "three"]
        assert provider.chats[-1].texts[1:] == said


@pytest.mark.parametrize("permanent", ["embedded", "mongodb"])
async def test_forty_turns_are_summarised_and_the_window_stays_bounded(
    start_app: StartApp,
    provider: Provider,
    redis_server: RedisServer,
    mongod: Mongod,
    permanent: str,
) -> None:
    settings = with_provider(
        provider,
        REDIS_URL=redis_server.url,
        SUMMARY_EVERY_TURNS="10",
        CONTEXT_TOKEN_BUDGET="600",
    )
    if permanent == "mongodb":
        settings |= {"MONGODB_URI": mongod.uri, "MONGODB_DATABASE": "acceptance_summary"}
    app = start_app(**settings)
    async with Client(app.url) as guest:
        conversation_id = None
        for number in range(40):
            asked = await guest.ask(f"question number {number}", conversation_id)
            conversation_id = asked["conversation_id"]
        await wait_until(lambda: len(provider.summaries) >= 3, "three summaries are made")
        await guest.ask("the last one", conversation_id)
        prompt = provider.chats[-1]
        assert "summary of" in str(prompt.texts)
        assert len(prompt.texts) < 60
        assert sum(len(text) for text in prompt.texts) < 600 * 6
        key = f"conversation:messages:{conversation_id}"
        assert int(redis_command(redis_server, "LLEN", key)) == 50
        for kind in ("messages", "summary", "turns"):
            ttl = int(redis_command(redis_server, "TTL", f"conversation:{kind}:{conversation_id}"))
            assert 86_000 < ttl <= 86_400
        assert redis_command(redis_server, "GET", f"conversation:turns:{conversation_id}") == "41"


@pytest.mark.parametrize("permanent", ["embedded", "mongodb"])
async def test_a_deleted_conversation_leaves_nothing_behind_anywhere(
    start_app: StartApp,
    provider: Provider,
    redis_server: RedisServer,
    mongod: Mongod,
    permanent: str,
    tmp_path: Path,
) -> None:
    settings = with_provider(provider, REDIS_URL=redis_server.url)
    if permanent == "mongodb":
        settings |= {"MONGODB_URI": mongod.uri, "MONGODB_DATABASE": "acceptance_delete"}
    data_dir = tmp_path / "data"
    app = start_app(data_dir, **settings)
    async with Client(app.url) as guest, Client(app.url, guest.token) as other_tab:
        call = {"message_id": "11111111-1111-4111-8111-111111111111", "content": "unmistakable"}
        sent = await guest.ok("message:send", **call)
        await guest.completed(sent["turn"]["id"])
        conversation_id = sent["conversation_id"]
        await guest.ok("conversation:delete", conversation_id=conversation_id)
        told = await other_tab.next_event("conversation:deleted")
        assert told["conversation_id"] == conversation_id
        for name in ("open", "history", "close", "delete"):
            refusal = await guest.refusal(f"conversation:{name}", conversation_id=conversation_id)
            assert refusal["code"] == "not_found"
        late = await guest.refusal("message:send", **call)
        assert late["code"] == "not_found"
        into = await guest.refusal("message:send", **call | {"conversation_id": conversation_id})
        assert into["code"] == "not_found"
        assert (await guest.ok("conversation:list"))["conversations"] == []
    assert redis_command(redis_server, "KEYS", f"*{conversation_id}*") == []
    app.stop()
    if permanent == "mongodb":
        assert "unmistakable" not in everything_in(mongod, "acceptance_delete")
    else:
        assert not any(
            b"unmistakable" in file.read_bytes() for file in data_dir.rglob("*") if file.is_file()
        )
