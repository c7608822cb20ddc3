"""The chat page for everybody: by keyboard, by ear, in the dark, on a phone, from right to left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ViewportSize, expect

from tests.support.app import HOME
from tests.support.node import JS_FOLDER
from tests.web.browsing import DESKTOP, PHONE, OpenTab, Tab, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = JS_FOLDER / "node_modules" / "axe-core" / "axe.min.js"
# PICTURES=1 makes those of the README anew; otherwise every run would change them.
README_PICTURES = HOME / "docs" if os.environ.get("PICTURES") else None
ANSWER = (Path(__file__).parent / "answer.md").read_text(encoding="utf-8")
QUESTION = "How do I find the distance between two points, and why does it work?"


async def no_serious_findings(tab: Tab) -> None:
    await tab.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await tab.page.evaluate(
        "axe.run(document, {resultTypes: ['violations']})"
    )
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical", "moderate")
    ]
    assert not serious, json.dumps(serious, indent=1)


async def a_talk(world: World, tab: Tab) -> None:
    for title in ("What to plant by the wall", "Reading Proust slowly", "كيف أتعلم العربية؟"):
        world.answer("Gladly.")
        await tab.say(title)
        await tab.gets("Gladly.")
        await tab.page.evaluate("location.hash = '#/'")
        await expect(tab.answers).to_have_count(0)
    world.answer(ANSWER)
    await tab.say(QUESTION)
    await expect(tab.answers.locator(".katex")).to_have_count(3)
    await expect(tab.answers.locator(".hljs-keyword").first).to_be_visible()
    await expect(tab.button("Stop")).to_have_count(0)
    await tab.page.evaluate("document.fonts.ready")


async def test_nothing_serious_is_found_by_axe_and_pictures_are_made(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    pictures = README_PICTURES or tmp_path
    tab = await new_tab(timezone_id="UTC", locale="en-GB")
    await no_serious_findings(tab)
    await a_talk(world, tab)
    for name, size, colours in (
        ("desktop", DESKTOP, "light"),
        ("dark", DESKTOP, "dark"),
        ("phone", PHONE, "light"),
    ):
        await tab.page.set_viewport_size(ViewportSize(**size))
        await tab.page.emulate_media(color_scheme=colours)
        await no_serious_findings(tab)
        await tab.page.screenshot(path=pictures / f"page-{name}.png", animations="disabled")
    await tab.button("Your chats").click()
    await tab.chats.get_by_role("button", name="Delete").first.click()
    await no_serious_findings(tab)
    await tab.button("Keep").click()
    await tab.page.keyboard.press("Escape")
    world.answer_held("It goes on", ".")
    await tab.say("Go on.")
    await expect(tab.answers.last).to_contain_text("It goes on")
    await no_serious_findings(tab)
    await tab.button("Stop").click()
    await expect(tab.answers.last).to_contain_text("Stopped.")
    await no_serious_findings(tab)


async def test_a_screen_reader_hears_sentences(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    gate = world.answer_held("One **sentence**. Half of", " another.")
    await tab.say("Speak.")
    await expect(tab.spoken).to_have_text("One sentence.")
    gate.set()
    await expect(tab.spoken).to_have_text("Half of another.")


async def test_a_screen_reader_hears_one_answer_after_the_other(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    gate = world.answer_held("One **sentence**. Half of", " another.")
    await tab.say("Speak.")
    await expect(tab.spoken).to_have_text("One sentence.")
    await tab.say("Go on.")
    await expect(tab.answers).to_have_count(2)
    gate.set()
    await expect(tab.spoken).to_have_text("Half of another.")
    await expect(tab.spoken).to_have_text("One sentence. Half of another.")


async def test_all_of_it_is_reached_by_keyboard(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("Hello")
    await tab.gets("echo: Hello")
    reached: list[str] = []
    for _ in range(24):
        await tab.page.keyboard.press("Tab")
        reached.append(
            await tab.page.evaluate(
                "(document.activeElement.getAttribute('aria-label') ?? "
                "document.activeElement.textContent).trim()"
            )
        )
    expected = {"New conversation", "Search your chats", "Hello", "Rename", "Delete"}
    expected |= {"Conversation", "Copy", "Edit", "Regenerate", "Message", "Settings", "Export"}
    expected |= {"Good answer", "Bad answer", "What the model was given"}
    assert expected <= set(reached), reached


async def test_a_phone_has_its_list_in_a_drawer(new_tab: OpenTab) -> None:
    tab = await new_tab(viewport=PHONE, has_touch=True, is_mobile=True)
    await tab.say("First")
    await tab.gets("echo: First")
    await expect(tab.chats).to_be_hidden()
    menu = tab.button("Your chats")
    link = tab.page.get_by_role("link", name="New conversation")
    await menu.tap()
    await expect(tab.chats).to_be_visible()
    await expect(link).to_be_focused()
    await expect(tab.page.locator("main")).to_have_attribute("inert", "")
    await tab.page.keyboard.press("Escape")
    await expect(tab.chats).to_be_hidden()
    await expect(menu).to_be_focused()
    await menu.tap()
    await link.tap()
    await expect(tab.chats).to_be_hidden()
    await tab.say("Second")
    await tab.gets("echo: Second")
    width = await tab.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


async def test_text_from_right_to_left_is_set_so(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    world.answer("مرحبا بك!\n\n- واحد\n- اثنان\n\nAnd in English.")
    await tab.say("مرحبا")
    await tab.gets("مرحبا بك!")
    directions = await tab.conversation.locator("p, ul").evaluate_all(
        "all => all.filter(each => each.dir).map(each => getComputedStyle(each).direction)"
    )
    assert directions == ["rtl", "rtl", "rtl", "ltr"]
