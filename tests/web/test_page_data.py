"""A person's data as a whole, on the page: out as a file, in again, added up, and away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.web.browsing import OpenTab, Tab, World
from tests.web.pictures import saved
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def exported(tab: Tab, as_what: str) -> tuple[str, str]:
    """The name and the content of the file."""
    await tab.button("Export").click()
    async with tab.page.expect_download() as download:
        await tab.button(as_what).click()
    file = await download.value
    return file.suggested_filename, Path(await file.path()).read_text(encoding="utf-8")


async def panel(tab: Tab, name: str) -> Locator:
    """One of the settings', opened."""
    if await tab.page.get_by_role("dialog").count() == 0:
        await tab.button("Settings").click()
    await tab.page.get_by_role("tab", name=name).click()
    return tab.page.get_by_role("tabpanel", name=name)


async def test_a_conversation_goes_out_as_a_file_and_comes_in_again(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    tab = await new_tab()
    long = "Line *by* line, <b>as it was</b>.\n\n" * 3_000  # in two pieces
    world.answer(long)
    await tab.say("My name is Ada.")
    await tab.gets("Line by line")
    await tab.button("Export").click()
    await no_serious_findings(tab)
    await tab.page.keyboard.press("Escape")
    await expect(tab.button("Export")).to_be_focused()
    name, text = await exported(tab, "Markdown, to read")
    assert name.endswith(".md")
    assert "My name is Ada." in text
    name, text = await exported(tab, "JSON, to import again")
    assert name.endswith(".json")
    document = json.loads(text)
    assert [each["content"] for each in document["messages"]] == ["My name is Ada.", long]

    other = await new_tab()
    data = await panel(other, "Your data")
    chooser = data.get_by_label("Exported conversation")
    await chooser.set_input_files(saved(tmp_path, "broken.json", b'{"messages": '))
    await expect(data.get_by_role("alert")).to_contain_text("Not imported. This is not")
    await no_serious_findings(other)
    document["messages"] = [  # more than a packet carries
        {**message, "seq": seq} for seq, message in enumerate(document["messages"] * 20, start=1)
    ]
    await chooser.set_input_files(saved(tmp_path, name, json.dumps(document).encode()))
    await expect(other.page.get_by_role("dialog")).to_have_count(0)
    await expect(other.questions.last).to_contain_text("My name is Ada.")
    await expect(other.answers.last).to_contain_text("Line by line")
    await expect(other.chats.get_by_role("link", name="My name is Ada.")).to_have_attribute(
        "aria-current", "page"
    )


async def test_what_was_used_is_added_up_against_the_budget(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    with world.beside(tmp_path / "data", USER_TOKENS_PER_DAY="100000") as app:
        tab = await new_tab(app.url)
        await tab.say("Count this.")
        await tab.gets("echo: Count this.")
        usage = await panel(tab, "Usage")
        total = usage.get_by_role("row", name="Together").get_by_role("cell")
        await expect(total.first).not_to_have_text("0")
        assert await total.first.inner_text() == await total.last.inner_text()
        await expect(usage.get_by_role("meter", name="Tokens used")).to_be_visible()
        await expect(usage.get_by_text("of 100,000 tokens")).to_be_visible()
        await no_serious_findings(tab)
        # By keyboard from one panel to the next.
        await tab.page.get_by_role("tab", name="Usage").press("ArrowRight")
        await expect(tab.page.get_by_role("tab", name="Your data")).to_be_focused()
        await expect(tab.page.get_by_role("tabpanel", name="Your data")).to_be_visible()


async def test_everything_is_deleted_once_that_was_typed(new_tab: OpenTab) -> None:
    tab = await new_tab()
    for text in ("One.", "Two."):
        await tab.page.get_by_role("link", name="New conversation").click()
        await tab.say(text)
        await tab.gets(f"echo: {text}")
    beside = await new_tab(tab.page.url, beside=tab)
    await beside.gets("echo: Two.")
    data = await panel(tab, "Your data")
    button = data.get_by_role("button", name="Delete all my data")
    words = data.get_by_role("textbox", name="To confirm")
    await words.fill("delete")
    await expect(button).to_be_disabled()
    await words.press("Enter")
    await words.fill("delete everything")
    await expect(button).to_be_enabled()
    await no_serious_findings(tab)
    await button.click()
    await expect(tab.page.get_by_role("dialog")).to_have_count(0)
    for each in (tab, beside):
        await expect(each.chats.get_by_role("listitem")).to_have_count(0)
    await expect(tab.page.get_by_role("heading", name="What is on your mind?")).to_be_visible()
    await expect(
        beside.page.get_by_text("It was deleted, or it is somebody else’s.")
    ).to_be_visible()
