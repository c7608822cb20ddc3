"""The tools that an answer uses, as the page shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.support.app import App
from tests.support.provider import Body, Script, ToolCall
from tests.web.browsing import OpenTab, World
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")

# One that waits until its test lets it go on, and one that fails.
TOOLS = '''
import asyncio
from pathlib import Path

async def look_up(word: str) -> str:
    """Look a word up."""
    while not (Path(__file__).parent / "go").exists():
        await asyncio.sleep(0.02)
    return f"<b>{word}</b> is a word. " + "x" * 10_000

def break_down(reason: str) -> str:
    """Break down."""
    raise RuntimeError(reason)

tools = [look_up, break_down]
'''


@pytest_asyncio.fixture(loop_scope="session")
async def equipped(world: World, tmp_path: Path) -> AsyncIterator[App]:
    """A server whose model has tools, and uses both between two sentences."""
    (tmp_path / "page_tools.py").write_text(TOOLS)

    def respond(body: Body) -> Script:
        if any(message["role"] == "tool" for message in body["messages"]):
            return Script(["It is a word."])
        calls = [ToolCall("look_up", {"word": "ylang"}), ToolCall("break_down", {"reason": "no"})]
        return Script(["Let me see. "], calls=calls)

    world.answer_by(respond)
    with world.beside(tmp_path / "data", TOOLS="page_tools:tools") as app:
        yield app


async def test_tools_are_told_in_their_place_while_they_run_and_after(
    equipped: App, new_tab: OpenTab, tmp_path: Path
) -> None:
    tab = await new_tab(equipped.url)
    await tab.say("What is ylang?")
    answer = tab.answers.first
    running = answer.get_by_text("Using look up …")
    await expect(running).to_be_visible()
    await expect(answer.get_by_text("break down failed")).to_be_visible()
    await expect(tab.spoken).to_contain_text("look up")
    await no_serious_findings(tab)
    await tab.page.reload()
    await expect(running).to_be_visible()
    (tmp_path / "go").touch()
    await tab.gets("It is a word.")
    done = answer.locator("summary").filter(has_text="Used look up")
    await done.press("Enter")
    await expect(answer.get_by_label("Input")).to_contain_text('"word": "ylang"')
    output = answer.get_by_label("Output")
    await expect(output).to_contain_text("<b>ylang</b> is a word.")
    assert len(str(await output.text_content())) < 4_200
    await no_serious_findings(tab)


async def test_what_was_said_before_a_tool_stands_before_it(
    equipped: App, new_tab: OpenTab, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    tab = await new_tab(equipped.url)
    await tab.say("What is ylang?")
    await tab.gets("It is a word.")
    lines: list[Any] = await tab.answers.locator("summary, .markdown").all_inner_texts()
    assert [line.strip(" ›\n") for line in lines] == [
        "Let me see.",
        "Used look up",
        "break down failed",
        "It is a word.",
    ]
    await tab.answers.get_by_role("button", name="What the model was given").click()
    dialog = tab.page.get_by_role("dialog", name="What the model was given")
    await expect(dialog.get_by_text("Used look up")).to_be_visible()
    await expect(dialog.get_by_text("break down failed")).to_be_visible()
    await no_serious_findings(tab)


async def test_a_stopped_answers_tools_do_not_run_on(equipped: App, new_tab: OpenTab) -> None:
    tab = await new_tab(equipped.url)
    await tab.say("What is ylang?")
    await expect(tab.answers.get_by_text("Using look up …")).to_be_visible()
    await tab.button("Stop").click()
    await expect(tab.answers.get_by_text("Used look up (cut short)")).to_be_visible()
