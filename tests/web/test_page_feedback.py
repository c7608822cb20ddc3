"""What people think of an answer, said on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from tests.web.browsing import OpenTab, Tab
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


def thumb(tab: Tab, name: str) -> Locator:
    return tab.answers.get_by_role("button", name=name, exact=True)


async def test_a_thumb_and_a_comment_are_kept_and_shown_in_every_tab(new_tab: OpenTab) -> None:
    one = await new_tab()
    await one.say("Judge this.")
    await one.gets("echo: Judge this.")
    two = await new_tab(one.page.url, beside=one)
    await two.gets("echo: Judge this.")
    await thumb(one, "Bad answer").click()
    await expect(thumb(two, "Bad answer")).to_have_attribute("aria-pressed", "true")
    comment = one.page.get_by_role("textbox", name="What was wrong with it")
    await no_serious_findings(one)
    await comment.fill("It only repeats me. <b>")
    await comment.press("Enter")
    await expect(comment).to_have_count(0)
    await two.button("Change your comment").click()
    box = two.page.get_by_role("textbox", name="What was wrong with it")
    await expect(box).to_have_value("It only repeats me. <b>")
    await box.press("Escape")
    await expect(box).to_have_count(0)
    await one.page.reload()
    await expect(thumb(one, "Bad answer")).to_have_attribute("aria-pressed", "true")
    await expect(one.button("Change your comment")).to_be_visible()


async def test_what_is_pressed_again_is_taken_back_by_keyboard(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("Judge this.")
    await tab.gets("echo: Judge this.")
    good, bad = thumb(tab, "Good answer"), thumb(tab, "Bad answer")
    await good.focus()
    await good.press("Enter")
    await expect(good).to_have_attribute("aria-pressed", "true")
    await expect(tab.page.get_by_role("textbox", name="What was good about it")).to_be_visible()
    await expect(good).to_be_focused()
    await bad.press(" ")
    await expect(bad).to_have_attribute("aria-pressed", "true")
    await expect(good).to_have_attribute("aria-pressed", "false")
    await expect(tab.page.get_by_role("textbox", name="What was wrong with it")).to_be_visible()
    await bad.press("Enter")
    await expect(bad).to_have_attribute("aria-pressed", "false")
    await expect(tab.page.get_by_role("textbox", name="What was wrong with it")).to_have_count(0)
    await tab.page.reload()
    await expect(good).to_have_attribute("aria-pressed", "false")
    await expect(bad).to_have_attribute("aria-pressed", "false")
