"""Searching in all that was ever said, on the page."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, expect

from tests.web.browsing import OpenTab, Tab, World
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


def box(tab: Tab) -> Locator:
    return tab.page.get_by_role("searchbox", name="Search your chats")


def found(tab: Tab) -> Locator:
    return tab.chats.get_by_role("region", name="In messages")


async def test_what_was_said_is_found_and_gone_to(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    world.answer("The lighthouse keeper's name was **Euphemia**. <img src=x onerror=alert(1)>")
    await tab.say("Who kept the lighthouse?")
    await tab.gets("The lighthouse keeper's name")
    world.answer("Line.\n\n" * 60)
    await tab.say("Talk on.")
    await tab.gets("The lighthouse", "Line.")
    await tab.page.get_by_role("link", name="New conversation").click()
    await tab.say("Something else.")
    await tab.gets("Line.")
    await box(tab).fill("euphemia")
    hit = found(tab).get_by_role("link")
    await expect(hit).to_contain_text(["Euphemia"])
    await expect(hit.locator("mark")).to_have_text("Euphemia")
    await expect(hit).to_contain_text("Who kept the lighthouse?")
    await no_serious_findings(tab)
    await hit.click()
    await expect(tab.page).to_have_url(re.compile(r"/#/c/[0-9a-f-]+/[\w-]+$"))
    answer = tab.answers.filter(has_text="Euphemia")
    await expect(answer).to_be_focused()
    await expect(answer).to_be_in_viewport()
    await expect(tab.button("Jump to latest")).to_be_visible()
    await tab.button("Jump to latest").click()
    await expect(tab.page).to_have_url(re.compile(r"/#/c/[0-9a-f-]+$"))
    await hit.click()  # the same place once more
    await expect(answer).to_be_in_viewport()
    await box(tab).fill("zebra")
    await expect(found(tab).get_by_text("No message has these words.")).to_be_visible()
    await box(tab).press("Escape")
    await expect(found(tab)).to_have_count(0)


async def test_nobody_finds_what_others_said(new_tab: OpenTab) -> None:
    ada = await new_tab()
    await ada.say("The word is ylang.")
    await ada.gets("echo: The word is ylang.")
    await box(ada).fill("ylang")
    await expect(found(ada).get_by_role("link")).to_have_count(2)
    eve = await new_tab()
    await box(eve).fill("ylang")
    await expect(found(eve).get_by_text("No message has these words.")).to_be_visible()


async def test_while_the_archive_is_away_that_is_said(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("The word is ylang.")
    await tab.gets("echo: The word is ylang.")
    world.mongod.kill()
    try:
        await box(tab).fill("ylang")
        away = found(tab).get_by_text("Messages can’t be searched now.")
        await expect(away).to_be_visible(timeout=30_000)
        await expect(found(tab).get_by_text("No message")).to_have_count(0)
    finally:
        world.mongod.start()
    await expect(found(tab).get_by_role("link")).to_have_count(2, timeout=30_000)
