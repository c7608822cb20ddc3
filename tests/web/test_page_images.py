"""Images in messages: chosen, pasted, dropped, shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.support.way import Way
from tests.web.browsing import OpenTab, Tab, World
from tests.web.pictures import png, saved
from tests.web.test_page_access import no_serious_findings

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_BYTES = 700_000

# A file that is pasted or dropped, as a browser hands it over.
HANDED_OVER = """async ([how, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const box = document.getElementById("message");
  const options = { bubbles: true, cancelable: true };
  if (how === "paste") {
    box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, ...options }));
  } else {
    for (const kind of ["dragover", "drop"])
      box.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, ...options }));
  }
}"""


def to_send(tab: Tab) -> Locator:
    return tab.page.get_by_role("list", name="Images to send").get_by_role("img")


def sent(tab: Tab) -> Locator:
    return tab.questions.get_by_role("list", name="Images").get_by_role("img")


async def choose(tab: Tab, *files: Path) -> None:
    await tab.page.get_by_label("Images to attach").set_input_files([*files])


async def is_shown(picture: Locator) -> bool:
    return bool(await picture.evaluate("each => each.decode().then(() => each.naturalWidth > 0)"))


def given(world: World) -> list[dict[str, Any]]:
    """The images that the model was given with the last question."""
    content = world.provider.chats[-1].messages[-1]["content"]
    return [each["image_url"] for each in content if each["type"] == "image_url"]


async def test_an_image_is_chosen_sent_and_still_there_after_a_reload(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    tab = await new_tab()
    world.answer("A green square.")
    await choose(tab, saved(tmp_path, "square.png", png(64, 64)))
    await expect(to_send(tab)).to_have_count(1)
    assert await is_shown(to_send(tab))
    await no_serious_findings(tab)
    await tab.say("What is this?")
    await tab.gets("A green square.")
    await expect(to_send(tab)).to_have_count(0)
    await expect(sent(tab)).to_have_count(1)
    assert await is_shown(sent(tab))
    [image] = given(world)
    assert image["url"] == "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()
    await tab.page.reload()
    await expect(sent(tab)).to_have_count(1)
    assert await is_shown(sent(tab))
    await tab.button("Image, in full size").click()
    large = tab.page.get_by_role("dialog", name="Image")
    await expect(large.get_by_role("img")).to_be_visible()
    await no_serious_findings(tab)
    await tab.page.keyboard.press("Escape")
    await expect(large).to_have_count(0)
    await expect(tab.button("Image, in full size")).to_be_focused()


@pytest.mark.parametrize("how", ["paste", "drop"])
async def test_an_image_is_pasted_or_dropped(world: World, new_tab: OpenTab, how: str) -> None:
    tab = await new_tab()
    data = base64.b64encode(png(8, 8)).decode()
    await expect(tab.button("Attach an image")).to_be_visible()  # the server has said that it may
    await tab.page.evaluate(HANDED_OVER, [how, "handed.png", "image/png", data])
    await expect(to_send(tab)).to_have_count(1)
    world.answer("Seen.")
    await tab.say("And this?")
    await tab.gets("Seen.")
    assert len(given(world)) == 1


async def test_what_is_too_large_is_made_smaller_and_what_is_no_image_is_refused(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    tab = await new_tab()
    large = png(1500, 1200, colour=None)
    assert len(large) > 5_000_000
    files = [saved(tmp_path, f"{name}.png", large) for name in ("one", "two")]
    await choose(tab, *files)
    await expect(to_send(tab)).to_have_count(2)
    await choose(tab, saved(tmp_path, "fake.png", b"<script>window.hacked = 1</script>"))
    await expect(tab.page.get_by_text("fake.png is not an image")).to_be_visible()
    await tab.button("Remove one.png").click()
    await expect(to_send(tab)).to_have_count(1)
    await choose(tab, *files, *files)
    await expect(tab.page.get_by_text("A message may have 4 images at most.")).to_be_visible()
    await expect(to_send(tab)).to_have_count(4)
    world.answer("Noise.")
    await tab.say("What is all this?")
    await tab.gets("Noise.")
    await expect(sent(tab)).to_have_count(4)
    sizes = [len(base64.b64decode(each["url"].split(",")[1])) for each in given(world)]
    assert len(sizes) == 4
    assert max(sizes) <= MOST_BYTES
    assert sum(sizes) <= 1_000_000


async def test_an_image_that_was_not_sent_yet_outlives_a_reload(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    async with Way(world.app.port) as way:
        tab = await new_tab(way.url)
        tab.may_lose_the_server = True
        await tab.say("Hello")
        await tab.gets("echo: Hello")
        way.open = False
        await way.cut()
        await choose(tab, saved(tmp_path, "square.png", png(64, 64)))
        await tab.say("What is this?")
        await expect(tab.page.get_by_text("Waits for the connection")).to_be_visible()
        await expect(sent(tab)).to_have_count(1)
        there = tab.page.url
        await tab.page.goto("about:blank")
        world.answer("A green square.")
        way.open = True
        await tab.page.goto(there)
        await tab.gets("echo: Hello", "A green square.")
        await expect(sent(tab)).to_have_count(1)
        assert len(given(world)) == 1
