"""What the model was given for an answer, as the page shows it to the curious."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.web.browsing import OpenTab
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_the_model_was_given_is_told(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("First.")
    await tab.gets("echo: First.")
    await tab.say("Second.")
    await tab.gets("echo: First.", "echo: Second.")
    opener = tab.answers.last.get_by_role("button", name="What the model was given")
    await opener.click()
    dialog = tab.page.get_by_role("dialog", name="What the model was given")
    await expect(dialog.get_by_role("row", name="The latest messages (2)")).to_be_visible()
    await expect(dialog.get_by_role("row", name="Your message")).to_be_visible()
    await no_serious_findings(tab)
    await dialog.get_by_text("System prompt", exact=True).last.click()
    await expect(dialog.get_by_label("System prompt")).to_be_visible()
    await no_serious_findings(tab)
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()
