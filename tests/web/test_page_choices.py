"""A conversation's own model and system prompt, chosen on the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.web.browsing import OpenTab, Tab, World
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


def picker(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("combobox", name=name)


async def test_a_model_and_a_prompt_are_chosen_before_and_after_the_first_message(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.toml"
    prompts.write_text('pirate = "Speak like a pirate."\n')
    with world.beside(
        tmp_path / "data", MODELS="larger,smaller", SYSTEM_PROMPTS=str(prompts)
    ) as app:
        tab = await new_tab(app.url)
        await expect(picker(tab, "Model").get_by_role("option")).to_have_text(
            ["Default (test-model)", "larger", "smaller"]
        )
        await picker(tab, "Model").select_option("larger")
        await no_serious_findings(tab)
        await tab.say("Who are you?")
        await tab.gets("echo: Who are you?")
        assert world.provider.chats[-1].body["model"] == "larger"
        beside = await new_tab(tab.page.url, beside=tab)
        await expect(picker(beside, "Model")).to_have_value("larger")
        await picker(tab, "System prompt").select_option("pirate")
        await expect(picker(beside, "System prompt")).to_have_value("pirate")
        await picker(tab, "Model").select_option("Default (test-model)")
        await expect(picker(beside, "Model")).to_have_value("")
        await beside.say("And now?")
        await beside.gets("echo: Who are you?", "echo: And now?")
        assert world.provider.chats[-1].body["model"] == "test-model"
        assert "Speak like a pirate." in world.provider.chats[-1].texts[0]
        await tab.page.get_by_role("link", name="New conversation").click()
        await expect(picker(tab, "Model")).to_have_value("")


async def test_where_there_is_nothing_to_choose_nothing_is_shown(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await expect(tab.box).to_be_visible()
    await expect(tab.page.get_by_role("combobox")).to_have_count(0)
