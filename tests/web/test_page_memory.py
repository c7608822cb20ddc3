"""What is remembered of a person: listed, corrected and deleted on the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.support.facts import reading
from tests.web.browsing import OpenTab, Tab, World
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def the_memory(tab: Tab) -> Locator:
    """The panel, opened."""
    await tab.button("Settings").click()
    panel = tab.page.get_by_role("tabpanel", name="Memory")
    await expect(panel).to_be_visible()
    return panel


async def test_facts_come_are_corrected_and_deleted_in_every_tab(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    world.answer_by(reading({"Bern": "Lives in Bern.", "tea": "Likes <b>tea</b>."}))
    with world.beside(tmp_path / "data", USER_MEMORY="true") as app:
        one = await new_tab(app.url)
        panel = await the_memory(one)
        await expect(panel.get_by_text("Nothing yet.")).to_be_visible()
        two = await new_tab(app.url, beside=one)
        await two.say("I live in Bern.")
        await expect(panel.get_by_text("Lives in Bern.")).to_be_visible()
        await two.say("I like tea.")
        await expect(panel.get_by_text("Likes <b>tea</b>.")).to_be_visible()
        await no_serious_findings(one)
        bern = panel.get_by_role("listitem").filter(has_text="Lives in Bern.")
        await bern.get_by_role("button", name="Correct").click()
        box = panel.get_by_role("textbox", name="Fact")
        await expect(box).to_be_focused()
        await box.press("Escape")
        await expect(box).to_have_count(0)
        await expect(bern.get_by_role("button", name="Correct")).to_be_focused()
        await bern.get_by_role("button", name="Correct").click()
        await box.fill("Lives in Basel.")
        await box.press("Enter")
        elsewhere = await the_memory(two)
        basel = elsewhere.get_by_role("listitem").filter(has_text="Lives in Basel.")
        await expect(basel.get_by_text("Corrected by you")).to_be_visible()
        tea = elsewhere.get_by_role("listitem").filter(has_text="tea")
        await tea.get_by_role("button", name="Delete").click()
        await no_serious_findings(two)
        await tea.get_by_role("button", name="Delete").click()
        for each in (panel, elsewhere):
            await expect(each.get_by_text("tea")).to_have_count(0)
        # One opens the conversation that the other has begun.
        await panel.get_by_role("link", name="Where you said so").click()
        said = one.questions.filter(has_text="I live in Bern.")
        await expect(said).to_be_focused()


async def test_where_memory_is_off_that_is_said(new_tab: OpenTab) -> None:
    tab = await new_tab()
    panel = await the_memory(tab)
    await expect(panel.get_by_text("Memory is off")).to_be_visible()
    await expect(panel.get_by_text("Nothing yet.")).to_have_count(0)
