"""A chat, from the first connection on: what the contract promises, over the wire."""

from __future__ import annotations

import asyncio
import uuid

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client, new_id
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until


async def test_a_newcomer_chats_and_the_answer_streams(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        assert guest.session["guest"] is True
        assert guest.session["user_id"].startswith("guest:")
        assert guest.session["server"]["limits"]["message_chars"] == 100_000
        sent = await guest.send("hello there")
        assert sent["durability"] == "permanent"
        assert sent["message"]["seq"] == 1
        assert sent["turn"]["status"] == "running"
        completed = await guest.completed(sent["turn"]["id"])
        message = completed["message"]
        assert message["content"] == "echo: hello there" == guest.streamed(sent["turn"]["id"])
        assert (message["seq"], message["role"], message["status"]) == (2, "assistant", "complete")
        assert completed["usage"]["output_tokens"] > 0
        names = [name for name, _ in guest.feed(sent["conversation_id"])]
        assert names[:2] == ["message:created", "turn:started"]
        assert names[-1] == "turn:completed"
        cursors = [payload["cursor"] for _, payload in guest.feed(sent["conversation_id"])]
        assert len(set(cursors)) == len(cursors)


async def test_the_agent_is_given_what_was_said_before(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, SYSTEM_PROMPT="You are a parrot."))
    async with Client(app.url) as guest:
        first = await guest.ask("my name is Ada")
        conversation_id = first["conversation_id"]
        await guest.ask("what is my name?", conversation_id)
    roles = [message["role"] for message in provider.chats[-1].messages]
    texts = provider.chats[-1].texts
    assert roles == ["system", "user", "assistant", "user"]
    assert "You are a parrot." in texts[0]
    assert texts[1:] == ["my name is Ada", "echo: my name is Ada", "what is my name?"]


async def test_a_conversation_is_created_listed_renamed_read_and_closed(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as other_tab:
        mine = str(uuid.uuid4())
        made = await guest.ok("conversation:create", conversation_id=mine, title="Plans")
        assert made["conversation"]["id"] == mine
        assert made["conversation"]["message_count"] == 0
        again = await guest.ok("conversation:create", conversation_id=mine, title="Plans")
        assert again["conversation"] == made["conversation"]
        conflict = await guest.refusal("conversation:create", conversation_id=mine, title="Other")
        assert conflict["code"] == "conflict"
        assert (await other_tab.next_event("conversation:created"))["conversation"]["id"] == mine

        await guest.ask("first", mine)
        await guest.ask("second", mine)
        renamed = await guest.ok("conversation:rename", conversation_id=mine, title="New plans")
        assert renamed["conversation"]["title"] == "New plans"
        updated = await other_tab.next_event("conversation:updated")
        assert updated["conversation"]["title"] == "New plans"

        untitled = (await guest.ok("conversation:create"))["conversation"]
        assert untitled["title"] == ""
        listed = await guest.ok("conversation:list")
        assert [each["id"] for each in listed["conversations"]] == [untitled["id"], mine]
        assert listed["next"] is None
        assert listed["conversations"][1]["message_count"] == 4

        page = await guest.ok("conversation:history", conversation_id=mine, limit=3)
        assert [message["seq"] for message in page["messages"]] == [2, 3, 4]
        assert page["has_more"] is True
        rest = await guest.ok("conversation:history", conversation_id=mine, before=2, limit=3)
        assert [message["content"] for message in rest["messages"]] == ["first"]
        assert rest["has_more"] is False

        await guest.ok("conversation:close", conversation_id=mine)
        before = len(guest.feed(mine))
        await other_tab.ask("third", mine)
        assert len(guest.feed(mine)) == before


async def test_pages_of_the_list_join_without_gap_or_double(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        made = [(await guest.ok("conversation:create"))["conversation"]["id"] for _ in range(7)]
        seen: list[str] = []
        times: list[str] = []
        cursor = None
        while True:
            page = await guest.ok("conversation:list", limit=3, before=cursor)
            seen += [each["id"] for each in page["conversations"]]
            times += [each["updated_at"] for each in page["conversations"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(made)
        assert times == sorted(times, reverse=True)


async def test_a_message_without_a_conversation_names_it_after_its_first_line(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        sent = await guest.send("How do I   boil an egg?\nSoft, please.")
        await guest.completed(sent["turn"]["id"])
        created = await guest.next_event("conversation:created")
        assert created["conversation"]["id"] == sent["conversation_id"]
        assert created["conversation"]["title"] == "How do I boil an egg? Soft, please."


async def test_a_retry_is_one_message_one_answer_and_the_same_acknowledgement(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as other_tab:
        call = {"message_id": new_id(), "content": "only once"}
        answers = await asyncio.gather(
            *(tab.call("message:send", call) for tab in (guest, other_tab) for _ in range(10))
        )
        assert all(answer == answers[0] for answer in answers), answers
        await guest.completed(answers[0]["turn"]["id"])
        late = await guest.call("message:send", call)
        assert late == answers[0]
        assert len(provider.chats) == 1
        conflict = await guest.refusal("message:send", **call | {"content": "something else"})
        assert (conflict["code"], conflict["retryable"]) == ("conflict", False)
        history = await guest.ok(
            "conversation:history", conversation_id=answers[0]["conversation_id"]
        )
        assert [message["seq"] for message in history["messages"]] == [1, 2]


async def test_messages_wait_in_order_while_an_answer_runs(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        second = await guest.send("second", conversation_id)
        third = await guest.send("third", conversation_id)
        assert [each["turn"]["status"] for each in (second, third)] == ["queued", "queued"]
        assert [each["message"]["seq"] for each in (first, second, third)] == [1, 3, 5]
        busy = await guest.refusal(
            "message:send",
            message_id=new_id(),
            content="no waiting",
            conversation_id=conversation_id,
            if_busy="reject",
        )
        assert (busy["code"], busy["retryable"]) == ("busy", True)
        gate.set()
        for each in (first, second, third):
            await guest.completed(each["turn"]["id"])
        started = [payload["turn_id"] for payload in guest.all("turn:started")]
        assert started == [each["turn"]["id"] for each in (first, second, third)]
        # A turn's prompt has the exchanges before it, never what waits behind it.
        assert provider.chats[1].texts[1:] == ["first", "one two", "second"]


async def test_interrupt_stops_what_runs_and_goes_next(
    start_app: StartApp, provider: Provider
) -> None:
    provider.respond = lambda body: (
        Script(["partial ", "never"], gate=asyncio.Event())
        if body["messages"][-1]["content"] == "slow"
        else Script(["quick"])
    )
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        slow = await guest.send("slow")
        await wait_until(lambda: guest.all("turn:delta"), "the slow answer begins")
        quick = await guest.send("quick", slow["conversation_id"], if_busy="interrupt")
        name, stopped = await guest.ended(slow["turn"]["id"])
        assert name == "turn:stopped"
        assert (stopped["message"]["content"], stopped["message"]["status"]) == (
            "partial ",
            "stopped",
        )
        assert (await guest.completed(quick["turn"]["id"]))["message"]["content"] == "quick"


async def test_stop_ends_the_providers_stream_and_keeps_the_partial_text(
    start_app: StartApp, provider: Provider
) -> None:
    provider.respond = lambda body: Script(["kept ", "never"], gate=asyncio.Event())
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url, guest.token) as other_tab:
        sent = await guest.send("go on for ever")
        await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
        ids = {"conversation_id": sent["conversation_id"], "turn_id": sent["turn"]["id"]}
        answer = await other_tab.ok("turn:stop", **ids)
        assert answer["turn"]["status"] == "stopped"
        await wait_until(lambda: provider.closed_by_client == 1, "the stream ends", timeout=1)
        _, stopped = await guest.ended(ids["turn_id"])
        assert stopped["message"]["content"] == "kept "
        again = await guest.ok("turn:stop", **ids)
        assert again["turn"]["status"] == "stopped"
        missing = await guest.refusal("turn:stop", **ids | {"turn_id": new_id()})
        assert missing["code"] == "not_found"


async def test_a_waiting_turn_is_stopped_without_an_answer(
    start_app: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two"], gate=gate)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        first = await guest.send("first")
        conversation_id = first["conversation_id"]
        second = await guest.send("second", conversation_id)
        third = await guest.send("third", conversation_id)
        await guest.ok("turn:stop", conversation_id=conversation_id, turn_id=second["turn"]["id"])
        name, stopped = await guest.ended(second["turn"]["id"])
        assert (name, stopped["message"]) == ("turn:stopped", None)
        gate.set()
        await guest.completed(third["turn"]["id"])
        assert provider.chats[-1].texts[1:] == ["first", "one two", "third"]
        history = await guest.ok("conversation:history", conversation_id=conversation_id)
        assert [message["seq"] for message in history["messages"]] == [1, 2, 3, 5, 6]
