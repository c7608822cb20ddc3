"""An answer that streams stays where its reader wants it, and long conversations scroll."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import msgspec
import pytest
from playwright.async_api import expect

from mongo.store import MongoStore
from tests.stores.samples import a_conversation, a_turn, an_answer
from tests.support.provider import Script
from tests.support.wait import wait_until
from tests.web.browsing import OpenTab, Tab, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = 5_000
# How far the end is, and the first message in sight with its place.
LOOK = """() => {
  const list = document.querySelector('[aria-label="Conversation"]');
  const box = list.getBoundingClientRect();
  const articles = [...list.querySelectorAll('article')];
  const first = articles.find((each) => each.getBoundingClientRect().bottom > box.top + 1);
  return {
    gap: Math.round(list.scrollHeight - list.scrollTop - list.clientHeight),
    first: first?.querySelector('.said, .markdown').textContent.slice(0, 20),
    top: Math.round(first?.getBoundingClientRect().top - box.top),
    rows: articles.length,
  };
}"""


async def look(tab: Tab) -> dict[str, Any]:
    seen: dict[str, Any] = await tab.page.evaluate(LOOK)
    return seen


async def streaming(world: World, tab: Tab) -> asyncio.Event:
    """An answer longer than the window that goes on until the event is set."""
    ended = asyncio.Event()
    lines = [f"Line {number}.\n\n" for number in range(400)]
    world.answer_by(lambda _: Script(lines, delay=0.03 if not ended.is_set() else 0))
    await tab.say("Talk on.")
    await expect(tab.answers.get_by_text("Line 30.")).to_be_visible()
    return ended


async def test_it_follows_an_answer_until_its_reader_scrolls_up(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    await streaming(world, tab)
    pill = tab.button("Follow the answer")
    for _ in range(5):
        assert (await look(tab))["gap"] <= 60
        await asyncio.sleep(0.1)
    await expect(pill).to_have_count(0)
    await tab.conversation.hover()
    await tab.page.mouse.wheel(0, -40)  # the slightest move is meant
    await expect(pill).to_be_visible()
    await asyncio.sleep(0.3)
    before = await look(tab)
    await asyncio.sleep(1)
    after = await look(tab)
    assert (after["first"], after["top"]) == (before["first"], before["top"])
    assert after["gap"] > before["gap"]
    await pill.click()
    await expect(pill).to_have_count(0)
    await wait_until(lambda: at_end(tab), "it is at the end again")
    await tab.page.mouse.wheel(0, -2000)
    await expect(pill).to_be_visible()
    await tab.say("And this.")  # sending goes back to the end
    await expect(pill).to_have_count(0)
    await tab.button("Stop").click()
    await expect(tab.button("Stop")).to_have_count(0)


async def test_a_key_that_is_typed_does_not_scroll(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    world.answer("Line.\n\n" * 200)
    await tab.say("Talk on.")
    await tab.gets("Line.")
    await tab.conversation.press("Home")
    pill = tab.button("Jump to latest")
    await expect(pill).to_be_visible()
    await tab.questions.hover()
    await tab.button("Edit").click()
    await tab.page.get_by_role("textbox", name="What you said").press("End")
    await asyncio.sleep(0.3)
    await expect(pill).to_be_visible()
    assert await tab.conversation.evaluate("list => list.scrollTop") < 200


async def at_end(tab: Tab) -> bool:
    return bool((await look(tab))["gap"] <= 60)


async def test_ten_thousand_messages_scroll(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("Who am I?")
    await tab.gets("echo: Who am I?")
    conversation_id = await fill(world, await user_of(tab))
    await tab.page.goto(f"{world.app.url}/#/c/{conversation_id}")
    await expect(tab.answers.last).to_contain_text(f"answer {TURNS}")
    assert (await look(tab))["gap"] <= 1
    await tab.conversation.hover()
    seen: list[int] = []
    for _ in range(60):
        await tab.page.mouse.wheel(0, -1500)
        await asyncio.sleep(0.03)
        now = await look(tab)
        assert now["rows"] < 60  # the others are not in the document
        seen.append(int(now["first"].split()[-1]))
    assert seen == sorted(seen, reverse=True), seen  # nothing ever jumped
    assert seen[-1] < TURNS - 100, seen
    await tab.button("Jump to latest").click()
    await expect(tab.answers.last).to_contain_text(f"answer {TURNS}")
    assert (await look(tab))["gap"] <= 1


async def test_a_message_far_back_is_gone_to(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("Who am I?")
    await tab.gets("echo: Who am I?")
    conversation_id = await fill(world, await user_of(tab))
    for place in (40, 41, 4_321, 1):
        there = f"{world.app.url}/#/c/{conversation_id}/{conversation_id}-{place}"
        await tab.page.goto(there)
        sought = tab.questions.filter(has=tab.page.get_by_text(f"question {place}", exact=True))
        await expect(sought).to_be_focused()
        await expect(sought).to_be_in_viewport()
        await asyncio.sleep(0.5)
        await expect(sought).to_be_in_viewport()  # nothing has moved it away since
        await expect(tab.button("Jump to latest")).to_be_visible()
    await tab.button("Jump to latest").click()
    await expect(tab.answers.last).to_contain_text(f"answer {TURNS}")
    await tab.page.goto(f"{world.app.url}/#/c/{conversation_id}/nowhere")
    await expect(tab.page.get_by_role("alert")).to_contain_text("not in the conversation any more")


async def user_of(tab: Tab) -> str:
    kept = await tab.page.evaluate("Object.values(localStorage).join(' ')")
    [token] = [each for each in kept.replace('"', " ").split() if each.count(".") == 2]
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"])


async def fill(world: World, user_id: str) -> str:
    store = MongoStore(world.mongod.uri, "mnemosio")
    await store.connect()
    conversation_id = await a_conversation(store, user_id)
    kind: dict[str, Any] = {"user_id": user_id, "status": "completed", "open": False}
    past = [
        a_turn(conversation_id, n, message_id=f"{conversation_id}-{n}", answers=n, **kind)
        for n in range(1, TURNS + 1)
    ]
    turns = [msgspec.structs.replace(turn, answer=an_answer(turn)) for turn in past]
    for first in range(0, TURNS, 500):
        some = turns[first : first + 500]
        await asyncio.gather(*(store.turns.insert(turn, lease_ms=0) for turn in some))
    await store.turns.close(turns[-1])
    await store.close()
    return conversation_id
