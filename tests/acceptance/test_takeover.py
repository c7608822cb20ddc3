"""Servers that die, stand still or come back while they answer, beside others that go on."""

from __future__ import annotations

import asyncio
import signal
import uuid
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


@pytest.fixture
def shared(provider: Provider, redis_server: RedisServer, mongod: Mongod) -> dict[str, str]:
    """The settings of servers that share everything."""
    return with_provider(
        provider,
        REDIS_URL=redis_server.url,
        MONGODB_URI=mongod.uri,
        MONGODB_DATABASE=f"takeover_{uuid.uuid4().hex[:8]}",
        TURN_LEASE_SECONDS="2",
    )


async def transcript(client: Client, conversation_id: str) -> list[dict[str, Any]]:
    history = await client.ok("conversation:history", conversation_id=conversation_id)
    messages: list[dict[str, Any]] = history["messages"]
    return messages


async def whole(client: Client, conversation_id: str, count: int) -> list[dict[str, Any]]:
    """The transcript, once it has ``count`` messages."""

    async def there() -> list[dict[str, Any]] | None:
        messages = await transcript(client, conversation_id)
        return messages if len(messages) >= count else None

    found: list[dict[str, Any]] = await wait_until(
        there, f"{count} messages are there", timeout=12, interval=0.1
    )
    return found


async def test_another_server_answers_what_a_killed_one_left_running_and_waiting(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    first, second = start_app(**shared), start_app(**shared)
    guest = await Client(first.url).connect()
    sent = await guest.send("one")
    conversation_id = sent["conversation_id"]
    await guest.send("two", conversation_id)
    await guest.send("three", conversation_id)
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    provider.respond = lambda body: Script([f"to {body['messages'][-1]['content']}"])
    first.kill()
    async with Client(second.url, guest.token) as tab:
        messages = await whole(tab, conversation_id, 6)
    assert [(message["seq"], message["content"]) for message in messages] == [
        (1, "one"),
        (2, "to one"),
        (3, "two"),
        (4, "to two"),
        (5, "three"),
        (6, "to three"),
    ]
    # Nobody's words twice in a prompt, nor a later message before its turn.
    assert [request.texts[1:] for request in provider.chats[1:]] == [
        ["one"],
        ["one", "to one", "two"],
        ["one", "to one", "two", "to two", "three"],
    ]
    await guest.close()


async def test_a_server_that_stood_still_past_its_lease_says_nothing_stale(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    scripts = [Script(["old ", "stale"], gate=gates[0]), Script(["new ", "whole"], gate=gates[1])]
    provider.respond = lambda body: scripts.pop(0) if scripts else Script(["later"])
    paused, other = start_app(**shared), start_app(**shared)
    async with Client(paused.url) as guest:
        sent = await guest.send("tell me")
        conversation_id = sent["conversation_id"]
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        paused.signal(signal.SIGSTOP)
        await wait_until(lambda: len(provider.chats) == 2, "the other takes over", timeout=8)
        gates[0].set()
        await wait_until(lambda: provider.open_streams == 1, "the stale words lie ready")
        paused.signal(signal.SIGCONT)
        # It goes on: its calls are answered again.
        await guest.ok("conversation:list")
        gates[1].set()
        async with Client(other.url, guest.token) as tab:
            messages = await whole(tab, conversation_id, 2)
            assert [message["content"] for message in messages] == ["tell me", "new whole"]

        # The reader of the paused server hears how it ended, and never a stale word.
        told = await guest.completed(sent["turn"]["id"])
        assert told["message"]["content"] == "new whole"
        assert guest.streamed(sent["turn"]["id"]) == "new whole"
        assert "stale" not in "".join(delta["text"] for delta in guest.all("turn:delta"))
        opened = await guest.ok("conversation:open", conversation_id=conversation_id)
        assert [m["content"] for m in opened["messages"]] == ["tell me", "new whole"]
        assert opened["turns"] == []
        again = await guest.ask("and?", conversation_id)
        assert again["message"]["seq"] == 4


async def test_a_server_shows_what_was_said_on_another_since_it_was_last_open_here(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    here, there = start_app(**shared), start_app(**shared)
    async with Client(here.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        cursor = guest.feed(conversation_id)[-1][1]["cursor"]
        async with Client(there.url, guest.token) as tab:
            await tab.ask("two", conversation_id)
        async with Client(here.url, guest.token) as back:
            opened = await back.ok("conversation:open", conversation_id=conversation_id)
            assert [message["seq"] for message in opened["messages"]] == [1, 2, 3, 4]
            again = await back.ok(
                "conversation:open", conversation_id=conversation_id, after=cursor
            )
            # One log for all servers: what was said on the other follows as events.
            assert again["recovery"] == "replayed"
            told = (await back.next_event("turn:completed"))["message"]
            assert (told["seq"], told["content"]) == (4, "echo: two")
            await back.ask("three", conversation_id)
            assert provider.chats[-1].texts[1:] == ["one", "echo: one", "two", "echo: two", "three"]


async def test_a_turn_waiting_here_behind_an_answer_elsewhere_is_answered(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    here, there = start_app(**shared), start_app(**shared)
    async with Client(there.url) as guest, Client(here.url, guest.token) as tab:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        second = await tab.send("second", conversation_id)
        assert second["turn"]["status"] == "queued"
        gate.set()
        messages = await whole(tab, conversation_id, 4)
        assert [message["seq"] for message in messages] == [1, 2, 3, 4]
        assert len(provider.chats) == 2


async def test_a_stop_on_another_server_ends_the_answer_and_what_waits(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    answering, other = start_app(**shared), start_app(**shared)
    async with Client(answering.url) as guest, Client(other.url, guest.token) as tab:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        second = await guest.send("second", conversation_id)
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        stopped = await tab.ok(
            "turn:stop", conversation_id=conversation_id, turn_id=second["turn"]["id"]
        )
        assert stopped["turn"]["status"] == "stopped"
        await tab.ok("turn:stop", conversation_id=conversation_id, turn_id=first["turn"]["id"])
        name, ended = await guest.ended(first["turn"]["id"])
        assert (name, ended["message"]["content"]) == ("turn:stopped", "half ")
        messages = await transcript(tab, conversation_id)
        assert [(m["seq"], m["content"]) for m in messages] == [
            (1, "first"),
            (2, "half "),
            (3, "second"),
        ]
        assert len(provider.chats) == 1
        # What was done on the other server is told here as well.
        name, ended = await guest.ended(second["turn"]["id"])
        assert (name, ended["message"]) == ("turn:stopped", None)
        assert not guest.all("conversation:snapshot")


async def test_a_turn_stopped_after_its_server_died_is_not_begun_again(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    first, second = start_app(**shared), start_app(**shared)
    guest = await Client(first.url).connect()
    sent = await guest.send("one")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    first.kill()
    async with Client(second.url, guest.token) as tab:
        call = {"conversation_id": sent["conversation_id"], "turn_id": sent["turn"]["id"]}
        await tab.ok("turn:stop", **call)

        async def ended() -> bool:
            answer = await tab.ok("turn:stop", **call)
            return bool(answer["turn"]["status"] == "stopped")

        await wait_until(ended, "the turn ends as stopped", interval=0.1)
        assert len(provider.chats) == 1
        kept = await whole(tab, sent["conversation_id"], 2)
        assert (kept[1]["content"], kept[1]["status"]) == ("half ", "stopped")
    await guest.close()


@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted"])
async def test_one_message_sent_many_times_to_two_servers_is_one_message_with_one_answer(
    start_app: StartApp, provider: Provider, shared: dict[str, str], deleted: bool
) -> None:
    apps = [start_app(**shared), start_app(**shared)]
    call = {"message_id": new_id(), "content": "once"}
    async with Client(apps[0].url) as guest, Client(apps[1].url, guest.token) as tab:
        answers = await asyncio.gather(
            *(client.ok("message:send", **call) for client in (guest, tab) for _ in range(10))
        )
        assert all(answer == answers[0] for answer in answers)
        conversation_id = answers[0]["conversation_id"]
        await whole(tab, conversation_id, 2)
        if deleted:
            await tab.ok("conversation:delete", conversation_id=conversation_id)
        apps[0].kill()
        if deleted:
            late = await tab.refusal("message:send", **call)
            assert late["code"] == "not_found"
        else:
            assert await tab.ok("message:send", **call) == answers[0]
            other = await tab.refusal("message:send", **call | {"content": "other"})
            assert other["code"] == "conflict"
            assert len(await transcript(tab, conversation_id)) == 2
            listed = await tab.ok("conversation:list")
            assert [each["message_count"] for each in listed["conversations"]] == [2]
        assert len(provider.chats) == 1


async def test_a_turn_of_too_many_attempts_fails_at_the_restart(
    start_app: StartApp, provider: Provider, shared: dict[str, str], app_folder: Any
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    settings = shared | {"TURN_MAX_ATTEMPTS": "1"}
    app: App = start_app(app_folder, **settings)
    guest = await Client(app.url).connect()
    sent = await guest.send("one")
    waiting = await guest.send("two", sent["conversation_id"])
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    app.kill()
    provider.respond = lambda body: Script(["fine"])
    app = start_app(app_folder, **settings)
    async with Client(app.url, guest.token) as back:
        messages = await whole(back, sent["conversation_id"], 4)
        assert [(m["seq"], m["content"], m["status"]) for m in messages] == [
            (1, "one", "complete"),
            (2, "half ", "interrupted"),  # what its last attempt had said
            (3, "two", "complete"),
            (4, "fine", "complete"),
        ]
        stopped = await back.ok(
            "turn:stop", conversation_id=sent["conversation_id"], turn_id=sent["turn"]["id"]
        )
        assert (stopped["turn"]["status"], stopped["turn"]["attempt"]) == ("failed", 2)
        assert waiting["turn"]["status"] == "queued"
    await guest.close()


@pytest.fixture
def app_folder(tmp_path: Any) -> Any:
    return tmp_path / "again"
