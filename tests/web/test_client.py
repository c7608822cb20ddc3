"""The client of web/client against the real server, and what happens to connections and servers."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.node import require_node
from tests.support.provider import Body, Provider, Script
from tests.support.story import words
from tests.support.wait import wait_until
from tests.support.way import Way
from tests.web.conftest import SOURCE, OpenTab, Tab

SECRET = "a secret that is long enough for HS256"


def last_words(body: Body) -> str:
    return str(body["messages"][-1]["content"])


async def unsent(tab: Tab) -> str | None:
    """What is kept of unsent messages."""
    kept: str | None = await tab.get("kept(`mnemosio.outbox.${client.connection.get().userId}`)")
    return kept


async def grew_only(tab: Tab, key: str) -> list[str]:
    """What was shown of an answer, which within an attempt never lost or repeated a word."""
    shown = await tab.shown(key)
    for (_, attempt, before), (_, next_attempt, after) in itertools.pairwise(shown):
        assert after.startswith(before) or next_attempt > attempt, shown
    return [content for _, _, content in shown]


def test_its_parts_do_what_they_say(built_client: Path) -> None:
    """What is pure in it, by Node's own test runner."""
    files = sorted((built_client / "test" / "unit").glob("*.test.js"))
    ran = subprocess.run(
        [require_node(SOURCE), "--test", *files],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout
    assert files


async def test_a_message_is_answered_word_by_word(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two ", "three."], gate=gate)
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    assert await tab.get("chat().state.get().status") == "new"
    sent = await tab.send("Count, please.")
    [message] = await tab.messages()
    assert (message["key"], message["status"]) == (sent, "sending")
    await tab.until("last.status === 'streaming' && last.content === 'one '")
    assert await tab.get("chat().state.get().answering")
    gate.set()
    await tab.until("last.status === 'complete'")
    question, answer = await tab.messages()
    assert (question["id"], question["status"], question["seq"]) == (sent, "complete", 1)
    assert (answer["content"], answer["seq"], answer["attempt"]) == ("one two three.", 2, 1)
    assert answer["key"] == answer["turnId"] == question["turnId"]
    assert answer["usage"]["output_tokens"] == 3
    assert not await tab.get("chat().state.get().answering")
    await grew_only(tab, answer["key"])
    assert [each[0] for each in await tab.shown(sent)] == ["sending", "complete"]
    await tab.until("list.items[0]?.title === 'Count, please.' && !list.loading")


async def test_a_page_that_is_loaded_anew_in_mid_answer_shows_all_of_it(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two ", "three."], gate=gate)
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.send("Count.")
    await tab.until("last.content === 'one '")
    user_id = await tab.get("client.connection.get().userId")
    await tab.close()
    tab = await open_tab(app.url)
    await tab.show(conversation_id)
    await tab.until("last?.content === 'one ' && last.status === 'streaming'")
    assert await tab.get("client.connection.get().userId") == user_id
    gate.set()
    await tab.until("last.status === 'complete'")
    assert await tab.contents() == ["Count.", "one two three."]
    await grew_only(tab, (await tab.messages())[1]["key"])


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_connection_that_is_cut_in_mid_answer_misses_and_repeats_nothing(
    start_app: StartApp, provider: Provider, open_tab: OpenTab, transport: str
) -> None:
    text = words(60)
    provider.respond = lambda body: Script(text, delay=0.03)
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way:
        tab = await open_tab(way.url, transports=[transport])
        await tab.show()
        await tab.send("Tell me.")
        for count in (5, 20, 35):
            await tab.until(f"last.content.split(' ').length > {count}")
            way.open = False
            await way.cut()
            await tab.until("connection.status === 'reconnecting'")
            way.open = True
        await tab.until("last.status === 'complete' && connection.status === 'connected'")
        [answer] = (await tab.messages())[1:]
        assert answer["content"] == "".join(text)
        assert (answer["attempt"], len(provider.chats)) == (1, 1)
        await grew_only(tab, answer["key"])


async def test_a_server_that_is_killed_in_mid_answer_answers_anew(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    await tab.show()
    await tab.send("Hello!")
    await tab.until("last.content === 'half '")
    app.kill()
    await tab.until("connection.status === 'reconnecting'")
    assert await tab.contents() == ["Hello!", "half "]
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["the ", "whole."], gate=gate)
    await asyncio.to_thread(app.start)
    await tab.until("last.content === 'the ' && last.attempt === 2")
    gate.set()
    await tab.until("last.status === 'complete'")
    question, answer = await tab.messages()
    assert (question["content"], answer["content"]) == ("Hello!", "the whole.")
    # The server has begun anew, and knows nothing of what was said before: that may be shown.
    said = [text for _, _, text in await tab.shown(answer["key"]) if text]
    assert said == ["half ", "the ", "the whole.", "the whole."]


async def test_what_is_written_offline_goes_out_once_and_in_order(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way:
        tab = await open_tab(way.url)
        await tab.show()
        await tab.ask("zero")
        way.open = False
        await way.cut()
        await tab.until("connection.status === 'reconnecting'")
        for content in ("one", "two", "three"):
            await tab.send(content)
        assert await tab.contents() == ["zero", "echo: zero", "one", "two", "three"]
        assert [each["status"] for each in await tab.messages()][2:] == ["sending"] * 3
        way.open = True
        await tab.until("state.messages.length === 8 && !state.answering")
        asked = ("zero", "one", "two", "three")
        told = [text for each in asked for text in (each, f"echo: {each}")]
        assert await tab.contents() == told
        assert [last_words(request.body) for request in provider.chats] == told[::2]
        assert await unsent(tab) is None


async def test_what_is_unsent_outlives_a_reload_also_in_a_conversation_that_is_new(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way:
        tab = await open_tab(way.url)
        await tab.until("connection.status === 'connected'")
        way.open = False
        await way.cut()
        await tab.until("connection.status === 'reconnecting'")
        conversation_id = await tab.show()
        await tab.send("one")
        await tab.send("two")
        await tab.close()
        way.open = True
        # Nobody looks at that conversation: it goes out nevertheless.
        tab = await open_tab(way.url)
        await wait_until(lambda: len(provider.chats) == 2, "both are answered")
        await tab.show(conversation_id)
        await tab.until("state.messages.length === 4 && !state.answering")
        assert await tab.contents() == ["one", "echo: one", "two", "echo: two"]
        assert await unsent(tab) is None


async def test_without_a_storage_the_guest_and_what_is_unsent_outlive_a_connection(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way:
        tab = await open_tab(way.url, storage=None)
        await tab.show()
        await tab.ask("one")
        user_id = await tab.get("client.connection.get().userId")
        way.open = False
        await way.cut()
        await tab.until("connection.status === 'reconnecting'")
        await tab.send("two")
        way.open = True
        await tab.until("state.messages.length === 4 && last.status === 'complete'")
        assert await tab.contents() == ["one", "echo: one", "two", "echo: two"]
        assert await tab.get("client.connection.get().userId") == user_id


async def test_what_was_discarded_while_nobody_noticed_that_the_connection_died_is_not_sent(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.ask("one")
    # As after a laptop's sleep: the library finds at this emit that it missed the server's pings.
    await tab.run(
        "const now = Date.now; Date.now = () => now() + 1e6;"
        "const id = chat().send('never mind'); Date.now = now; chat().discard(id)"
    )
    await tab.until("connection.status === 'reconnecting'")
    await tab.until("connection.status === 'connected'")
    await tab.ask("two")
    assert await tab.contents() == ["one", "echo: one", "two", "echo: two"]
    assert [last_words(request.body) for request in provider.chats] == ["one", "two"]


async def test_of_conversations_that_are_closed_only_the_latest_stay_known(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.ask("one")
    others = "for (let n = 0; n < %d; n++) { const other = client.create(); %s }"
    close = "other.open(); other.close();"
    await tab.run(others % (30, close))  # it is open itself
    assert len(await tab.messages()) == 2
    await tab.run(f"chat().close(); {others % (19, close)}")
    assert len(await tab.messages()) == 2
    await tab.run(others % (1, close))
    assert await tab.messages() == []
    await tab.run("chat().open()")
    await tab.until("state.status === 'ready' && state.messages.length === 2")
    await tab.ask("two")
    assert await tab.contents() == ["one", "echo: one", "two", "echo: two"]


async def test_a_message_whose_acknowledgement_was_lost_is_answered_once(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    async with Way(app.port) as way:
        tab = await open_tab(way.url)
        await tab.show()
        await tab.ask("first")
        way.mute = True
        await tab.send("second")
        await wait_until(lambda: len(provider.chats) == 2, "it was accepted")
        await way.cut()
        way.mute = False
        await tab.until("state.messages.length === 4 && last.status === 'complete'")
        await tab.ask("third")
        assert await tab.contents() == [
            *("first", "echo: first", "second", "echo: second", "third", "echo: third")
        ]
        assert len(provider.chats) == 3


async def test_two_tabs_show_the_same(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    one, two = await open_tab(app.url), await open_tab(app.url)
    for tab in (one, two):
        await tab.until("connection.status === 'connected'")
    assert await one.get("client.connection.get().userId") == await two.get(
        "client.connection.get().userId"
    )
    conversation_id = await one.show()
    await one.ask("from one")
    await two.until("list.items[0]?.title === 'from one'")
    await two.show(conversation_id)
    await two.until("state.messages.length === 2")
    await two.ask("from two")
    await one.until("state.messages.length === 4 && !state.answering")
    assert await one.contents() == await two.contents()
    assert await one.contents() == ["from one", "echo: from one", "from two", "echo: from two"]
    await one.run(f"await client.rename({conversation_id!r}, 'Renamed')")
    await two.until("list.items[0].title === 'Renamed'")
    await one.run(f"await client.remove({conversation_id!r})")
    await two.until("state.status === 'missing' && list.items.length === 0")
    assert await two.messages() == []


async def test_the_list_is_paged_and_keeps_its_length_over_a_reconnect(
    start_app: StartApp, open_tab: OpenTab
) -> None:
    app = start_app()
    async with Way(app.port) as way:
        tab = await open_tab(way.url)
        await tab.until("connection.status === 'connected' && !list.loading")
        async with Client(app.url, await tab.get("kept('mnemosio.token')")) as client:
            for number in range(35):
                await client.ok("conversation:create", title=str(number))
                await asyncio.sleep(0.002)  # of one millisecond any may come first
        await tab.until("list.items.length === 35")
        await tab.close()
        tab = await open_tab(way.url)
        await tab.until("list.items.length === 30 && list.hasMore && !list.loading")
        await tab.run("await Promise.all([client.loadMore(), client.loadMore()])")
        titles = "client.conversations.get().items.map(({ title }) => title)"
        assert await tab.get(titles) == [str(number) for number in reversed(range(35))]
        await way.cut()
        await tab.until("connection.status === 'reconnecting'")
        await tab.until("connection.status === 'connected' && !list.loading")
        assert await tab.get(titles) == [str(number) for number in reversed(range(35))]
        assert not await tab.get("client.conversations.get().hasMore")


async def test_nobody_sends_what_another_user_left_unsent(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider, AUTH_JWT_SECRET=SECRET))
    ada, bob = (jwt.encode({"sub": who, "exp": time.time() + 600}, SECRET) for who in ("a", "b"))
    async with Way(app.port) as way:
        tab = await open_tab(way.url, token=ada)
        conversation_id = await tab.show()
        await tab.until("connection.status === 'connected'")
        way.open = False
        await way.cut()
        await tab.until("connection.status === 'reconnecting'")
        await tab.send("from Ada")
        await tab.close()
        way.open = True
        tab = await open_tab(way.url, token=bob)
        await tab.show()
        await tab.ask("from Bob")
        await tab.close()
        assert [last_words(request.body) for request in provider.chats] == ["from Bob"]
        tab = await open_tab(way.url, token=ada)
        await tab.show(conversation_id)
        await tab.until("state.messages.length === 2 && last.status === 'complete'")
        assert await tab.contents() == ["from Ada", "echo: from Ada"]


async def test_stop_keeps_what_was_said_and_ends_what_waits(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.send("one")
    await tab.until("last.content === 'half '")
    await tab.send("two")
    await tab.until("state.messages.length === 4 && last.status === 'queued'")
    await tab.run("await chat().stop()")
    await tab.until("!state.answering")
    assert [(each["content"], each["status"]) for each in await tab.messages()] == [
        *(("one", "complete"), ("half ", "stopped"), ("two", "complete"), ("", "stopped"))
    ]
    assert len(provider.chats) == 1
    provider.respond = lambda body: Script(["whole."])
    await tab.run("await chat().regenerate(chat().state.get().messages.at(-1).turnId)")
    await tab.until("last.status === 'complete' && last.role === 'assistant'")
    assert await tab.contents() == ["one", "half ", "two", "whole."]


async def test_regenerate_and_edit_replace_what_followed(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    counter = itertools.count(1)
    provider.respond = lambda body: Script([f"{last_words(body)}-{next(counter)}"])
    app = start_app(**with_provider(provider))
    tab, other = await open_tab(app.url), await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.send("a")
    await tab.until("last.content === 'a-1' && last.status === 'complete'")
    await tab.send("b")
    await tab.until("last.content === 'b-2' && last.status === 'complete'")
    await other.show(conversation_id)
    await other.until("state.messages.length === 4")
    await tab.run("await chat().regenerate(chat().state.get().messages[1].turnId)")
    for each in (tab, other):
        await each.until("last.content === 'a-3' && last.status === 'complete'")
        assert await each.contents() == ["a", "a-3"]
    await other.run("await chat().edit(chat().state.get().messages[0].id, 'c')")
    for each in (tab, other):
        await each.until("last.content === 'c-4' && last.status === 'complete'")
        assert await each.contents() == ["c", "c-4"]
        assert [message["seq"] for message in await each.messages()] == [1, 2]


async def test_history_is_paged_in_and_stays_over_a_snapshot(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.ask("question 1")
    token = await tab.get("kept('mnemosio.token')")
    async with Client(app.url, token) as client:
        for number in range(2, 61):
            await client.ask(f"question {number}", conversation_id)
    told = [text for n in range(1, 61) for text in (f"question {n}", f"echo: question {n}")]
    await tab.until("state.messages.length === 120")
    await tab.close()
    tab = await open_tab(app.url)
    await tab.show(conversation_id)
    await tab.until("state.status === 'ready'")
    shown = len(await tab.messages())
    assert 0 < shown < 120
    while await tab.get("chat().state.get().hasEarlier"):
        await tab.run("await Promise.all([chat().loadEarlier(), chat().loadEarlier()])")
        contents = await tab.contents()
        assert contents == told[-len(contents) :]
        assert len(contents) > shown
        shown = len(contents)
    assert shown == 120
    first = await tab.run("globalThis.first = chat().state.get().messages[0]; return first.content")
    assert first == "question 1"
    app.kill()  # and with it the log of the feed: what comes now is a snapshot of the latest
    await asyncio.to_thread(app.start)
    await tab.until("connection.status === 'connected'")
    await tab.ask("and now?")
    assert await tab.contents() == [*told, "and now?", "echo: and now?"]
    assert await tab.get("chat().state.get().messages[0] === first")


async def test_a_refused_message_waits_for_its_author(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["so"], gate=gate)
    tab = await open_tab(start_app(**with_provider(provider, MAX_MESSAGE_CHARS="20")).url)
    await tab.show()
    long = await tab.send("x" * 21)
    await tab.until("last.status === 'failed'")
    assert (await tab.messages())[0]["error"]["code"] == "too_large"
    huge = await tab.send("x" * 1_000_001)
    await tab.until(f"state.messages.length === 2 && last.id === {huge!r} && last.error")
    assert await tab.get("client.connection.get().status") == "connected"
    for each in (long, huge):
        await tab.run(f"chat().discard({each!r})")
    assert await tab.messages() == []
    await tab.send("first")
    await tab.until("state.answering")
    second = await tab.send("second", ifBusy="reject")
    await tab.until("last.status === 'failed' && last.error.code === 'busy'")
    gate.set()
    await tab.until("!state.answering")
    await tab.run(f"chat().retry({second!r})")
    await tab.until("state.messages.length === 4 && last.status === 'complete'")
    assert await tab.contents() == ["first", "so", "second", "so"]


async def test_an_interrupting_message_goes_next(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    def respond(body: Body) -> Script:
        asked = last_words(body)
        return Script([f"to {asked}", " never"], gate=asyncio.Event() if asked == "one" else None)

    provider.respond = respond
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.send("one")
    await tab.until("last.content === 'to one'")
    await tab.send("two", ifBusy="interrupt")
    await tab.until("state.messages.length === 4 && last.status === 'complete'")
    assert await tab.contents() == ["one", "to one", "two", "to two never"]
    assert (await tab.messages())[1]["status"] == "stopped"


async def test_an_answer_that_breaks_off_says_why(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    provider.respond = lambda body: Script(status=400)
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.send("Hello!")
    await tab.until("last.status === 'failed' && last.role === 'assistant'")
    answer = (await tab.messages())[1]
    assert answer["content"] == ""
    assert answer["error"]["message"]
    provider.respond = lambda body: Script(["Well."])
    await tab.run(f"await chat().regenerate({answer['turnId']!r})")
    await tab.until("last.status === 'complete' && last.role === 'assistant'")
    assert await tab.contents() == ["Hello!", "Well."]


async def test_a_token_that_lets_nobody_in_is_refused_for_good(
    start_app: StartApp, open_tab: OpenTab
) -> None:
    app = start_app(AUTH_JWT_SECRET=SECRET)
    for options in ({"token": "nonsense"}, {}):
        tab = await open_tab(app.url, browser=f"with {len(options)}", **options)
        await tab.until("connection.status === 'refused'")
        assert (await tab.get("client.connection.get().error"))["code"] == "unauthorized"
        answer = await tab.get("client.rename('a', 'b').catch((error) => error.code)")
        assert answer == "unauthorized"


async def test_a_guest_whom_the_server_does_not_know_any_more_begins_anew(
    start_app: StartApp, tmp_path: Path, open_tab: OpenTab
) -> None:
    app = start_app()
    key = f"{app.url} mnemosio.token"
    kept = tmp_path / "browser" / quote(key, safe="")
    kept.parent.mkdir()
    kept.write_text("of an earlier server")
    tab = await open_tab(app.url)
    await tab.until("connection.status === 'connected'")
    user_id = await tab.get("client.connection.get().userId")
    assert user_id.startswith("guest:")
    assert kept.read_text() != "of an earlier server"


async def test_somebody_elses_conversation_is_missing(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.ask("mine")
    other = await open_tab(app.url, browser="another")
    await other.show(conversation_id)
    await other.until("state.status === 'missing'")
    await other.send("let me in")
    await other.until("last.status === 'failed' && last.error.code === 'not_found'")
    assert await tab.contents() == ["mine", "echo: mine"]


async def test_a_server_that_drains_is_found_again(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two."], gate=gate)
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    await tab.show()
    await tab.send("Count.")
    await tab.until("last.content === 'one '")
    app.signal(signal.SIGTERM)
    await tab.until("connection.draining")
    late = await tab.send("And now?")
    gate.set()
    await tab.until("state.messages[1].status === 'complete'")
    assert app.process is not None
    await asyncio.to_thread(app.process.wait, 20)
    await asyncio.to_thread(app.start)
    await tab.until("connection.status === 'connected' && !connection.draining")
    await tab.until("state.messages.length === 4 && last.status === 'complete'")
    assert await tab.contents() == ["Count.", "one two.", "And now?", "one two."]
    assert (await tab.messages())[2]["id"] == late


async def test_an_expired_token_is_replaced_and_nothing_is_missed(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two."], gate=gate)
    app = start_app(**with_provider(provider, AUTH_JWT_SECRET=SECRET, AUTH_JWT_LEEWAY_SECONDS="0"))
    short, long = (
        jwt.encode({"sub": "ada", "exp": time.time() + seconds}, SECRET) for seconds in (4, 600)
    )
    tab = await open_tab(app.url, tokens=[short, long])
    await tab.show()
    await tab.send("Count.")
    await tab.until("last?.content === 'one '")
    await tab.until("connection.status === 'reconnecting'")
    await tab.until("connection.status === 'connected' && connection.userId === 'ada'")
    gate.set()
    await tab.until("last.status === 'complete'")
    assert await tab.contents() == ["Count.", "one two."]
    assert not await tab.get("client.connection.get().guest")
    assert await tab.get("kept('mnemosio.token')") is None


async def test_while_nobody_can_tell_who_is_calling_it_goes_on_trying(
    start_app: StartApp, open_tab: OpenTab
) -> None:
    app = start_app(AUTH_JWKS_URL="http://127.0.0.1:1/keys")
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"a"}').decode().rstrip("=")
    tab = await open_tab(app.url, token=f"{head}.e30.c2ln")
    await tab.until("connection.error?.code === 'unavailable'")
    assert await tab.get("client.connection.get().status") in ("connecting", "reconnecting")


async def test_what_is_only_spooled_stands_last_until_it_has_its_place(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, open_tab: OpenTab
) -> None:
    tab = await open_tab(start_app(**settings).url)
    await tab.show()
    await tab.ask("one")
    own_mongod.kill()
    await tab.ask("two")
    await tab.ask("three")
    assert [each["seq"] for each in await tab.messages()] == [1, 2, None, None, None, None]
    own_mongod.start()
    await tab.until("connection.store === 'ok' && state.messages.every(({ seq }) => seq)")
    assert [each["seq"] for each in await tab.messages()] == [1, 2, 3, 4, 5, 6]
    said = [text for each in ("one", "two", "three") for text in (each, f"echo: {each}")]
    assert await tab.contents() == said


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_to_connections_every_message_is_answered_once(
    start_app: StartApp, provider: Provider, open_tab: OpenTab, seed: int
) -> None:
    chance = random.Random(seed)
    provider.respond = lambda body: Script([f"to {last_words(body)}: ", *words(20)], delay=0.01)
    app = start_app(**with_provider(provider, MAX_QUEUED_TURNS="2"))
    async with Way(app.port) as way, Way(app.port) as other_way:
        # Of one page, so that they share what is kept; each with a network of its own.
        one, two = [await open_tab(each.url, served=True) for each in (way, other_way)]
        conversation_id = await one.show()
        await one.ask("0")
        await two.show(conversation_id)
        for number in range(1, 9):
            await one.send(str(number))
            for each in (way, other_way):
                if chance.random() < 0.6:
                    each.mute = chance.random() < 0.5
                    await asyncio.sleep(chance.random() / 2)
                    await each.cut()
                    each.mute = False
            await asyncio.sleep(chance.random() / 2)
        said = [t for n in range(9) for t in (str(n), f"to {n}: {''.join(words(20))}")]
        for tab in (one, two):
            await tab.until("state.messages.length === 18 && !state.answering")
            assert await tab.contents() == said
            for message in await tab.messages():
                await grew_only(tab, message["key"])
        assert [last_words(request.body) for request in provider.chats] == said[::2]
