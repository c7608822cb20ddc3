"""What the page costs before anything is done with it, and what is fetched later."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.page import BUILT
from tests.web.browsing import OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_BYTES = 120_000
SCRIPTS = """performance.getEntriesByType("resource").map(({ name }) => name)
  .filter((name) => name.endsWith(".js")).map((name) => name.split("/").at(-1))"""


async def test_it_begins_with_little(new_tab: OpenTab) -> None:
    tab = await new_tab()
    names: list[str] = await tab.page.evaluate(SCRIPTS)
    assert names
    sizes = {name: (BUILT / "assets" / f"{name}.br").stat().st_size for name in set(names)}
    assert sum(sizes.values()) < MOST_BYTES, sizes
    await tab.button("Settings").click()
    await expect(tab.page.get_by_role("dialog", name="Settings")).to_be_visible()
    later: list[str] = await tab.page.evaluate(SCRIPTS)
    assert len(later) > len(names)


async def test_what_can_not_be_fetched_later_says_so(new_tab: OpenTab) -> None:
    tab = await new_tab()
    tab.may_lose_the_server = True
    await tab.page.route("**/assets/Settings*", lambda route: route.abort())
    await tab.button("Settings").click()
    dialog = tab.page.get_by_role("dialog", name="This can’t be shown now")
    await expect(dialog).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await tab.say("It goes on.")
    await tab.gets("echo: It goes on.")
