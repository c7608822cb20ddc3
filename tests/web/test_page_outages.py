"""What the chat page shows when something on the way breaks, and when it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.provider import Script, echo
from tests.support.way import Way
from tests.web.browsing import MOST_CHARACTERS, OpenTab, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_CONNECTION = "No connection. Trying again by itself"


async def test_offline_and_back_in_the_middle_of_an_answer(world: World, new_tab: OpenTab) -> None:
    async with Way(world.app.port) as way:
        tab = await new_tab(way.url)
        tab.may_lose_the_server = True
        gate = world.answer_held("Before it broke, ", "and after.")
        await tab.say("Go on.")
        await expect(tab.answers).to_contain_text(["Before it broke,"])
        way.open = False
        await way.cut()
        await expect(tab.page.get_by_text(NO_CONNECTION)).to_be_visible()
        await expect(tab.answers).to_contain_text(["Before it broke,"])
        gate.set()
        await asyncio.sleep(0.3)  # its end is missed
        way.open = True
        await tab.gets("Before it broke, and after.")
        await expect(tab.page.get_by_text(NO_CONNECTION)).to_have_count(0)
        assert len(world.provider.chats) == 1


async def test_what_is_written_offline_is_sent_when_the_connection_is_back(
    world: World, new_tab: OpenTab
) -> None:
    async with Way(world.app.port) as way:
        tab = await new_tab(way.url)
        tab.may_lose_the_server = True
        await tab.say("Online.")
        await tab.gets("echo: Online.")
        way.open = False
        await way.cut()
        await expect(tab.page.get_by_text(NO_CONNECTION)).to_be_visible()
        await tab.say("Kept.")
        await tab.say("Thought better of.")
        waits = tab.questions.get_by_text("Waits for the connection")
        await expect(waits).to_have_count(2)
        await tab.questions.last.get_by_role("button", name="Discard").click()
        await expect(waits).to_have_count(1)
        way.open = True
        await tab.gets("echo: Online.", "echo: Kept.")
        await expect(tab.questions).to_contain_text(["Online.", "Kept."])


async def test_the_server_is_killed_and_restarted_in_the_middle_of_an_answer(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    tab.may_lose_the_server = True
    world.answer_held("Lost with the server", "")
    await tab.say("Go on.")
    await expect(tab.answers).to_contain_text(["Lost with the server"])
    world.app.kill()
    await expect(tab.page.get_by_text(NO_CONNECTION)).to_be_visible()
    world.answer("Answered anew.")
    world.app.start()
    await tab.gets("Answered anew.")
    await expect(tab.answers).not_to_contain_text(["Lost"])
    await expect(tab.questions).to_have_count(1)


async def test_an_answer_that_breaks_off_is_marked_and_can_be_had_again(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    world.answer_by(lambda _: Script(["Only so much"], error_after=1, error_code="oops"))
    await tab.say("Go on.")
    await expect(tab.answers.locator(".wrong")).to_be_visible()
    await expect(tab.answers).to_contain_text(["Only so much"])
    world.answer_by(echo)
    await tab.button("Regenerate").click()
    await tab.gets("echo: Go on.")
    await expect(tab.answers.locator(".wrong")).to_have_count(0)


async def test_a_question_without_an_answer_can_be_asked_again_after_a_reload(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    await tab.say("First.")
    await tab.gets("echo: First.")
    world.answer_by(lambda _: Script(status=401))
    await tab.say("Second.")
    await expect(tab.answers.last.locator(".wrong")).to_be_visible()
    await tab.page.reload()
    await expect(tab.questions.last.get_by_text("No answer.")).to_be_visible()
    await expect(tab.answers).to_have_count(1)
    await expect(tab.button("Regenerate")).to_have_count(0)  # it would take the question along
    world.answer_by(echo)
    await tab.button("Try again").click()
    await tab.gets("echo: First.", "echo: Second.")
    await expect(tab.questions).to_contain_text(["First.", "Second."])
    await expect(tab.page.get_by_text("No answer.")).to_have_count(0)


async def test_an_edit_that_fails_keeps_what_was_written(world: World, new_tab: OpenTab) -> None:
    async with Way(world.app.port) as way:
        tab = await new_tab(way.url)
        tab.may_lose_the_server = True
        await tab.page.clock.install()
        await tab.page.reload()
        await tab.say("one")
        await tab.gets("echo: one")
        await tab.questions.hover()
        await tab.button("Edit").click()
        editor = tab.page.get_by_role("textbox", name="What you said")
        await editor.fill("x" * (MOST_CHARACTERS + 1))
        await expect(tab.page.get_by_text("1 character too many")).to_be_visible()
        await expect(tab.button("Save")).to_be_disabled()
        await editor.fill("two")
        way.open = False
        await way.cut()
        await editor.press("Enter")
        await expect(tab.page.get_by_text("Saving …")).to_be_visible()
        await tab.page.clock.fast_forward(16_000)
        await expect(tab.page.get_by_role("alert")).to_contain_text("Not saved.")
        await expect(editor).to_have_value("two")
        way.open = True
        await editor.press("Enter")
        await tab.gets("echo: two")
        await expect(editor).to_have_count(0)
        await expect(tab.questions).to_contain_text(["two"])


async def test_what_has_to_wait_says_why_and_can_be_discarded(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    tab.may_lose_the_server = True
    world.app.kill()
    world.app.settings["RATE_LIMIT_MESSAGES_PER_MINUTE"] = "1"
    try:
        world.app.start()
        await tab.say("One.")
        await tab.gets("echo: One.")
        await tab.say("Two.")
        await tab.questions.last.get_by_role("button", name="Discard").click()
        await expect(tab.questions).to_have_count(1)
    finally:
        world.app.settings["RATE_LIMIT_MESSAGES_PER_MINUTE"] = "0"
        world.app.kill()
        world.app.start()


async def test_what_is_too_long_is_told_before_it_is_sent(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.box.fill("x" * (MOST_CHARACTERS + 2))
    await expect(tab.page.get_by_text("2 characters too many")).to_be_visible()
    await tab.box.press("Enter")
    await expect(tab.questions).to_have_count(0)
    await tab.box.press("Backspace")
    await tab.box.press("Backspace")
    await expect(tab.page.get_by_text("too many")).to_have_count(0)


async def test_what_the_server_refuses_can_be_sent_again_or_discarded(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    tab.may_lose_the_server = True
    await tab.say("Hello.")
    await tab.gets("echo: Hello.")
    world.app.kill()
    await expect(tab.page.get_by_text(NO_CONNECTION)).to_be_visible()
    await tab.say("Longer than it may be by then.")
    world.app.settings["MAX_MESSAGE_CHARS"] = "10"
    try:
        world.app.start()
        refused = tab.questions.last.get_by_text("Not sent.")
        await expect(refused).to_be_visible()
        await expect(tab.spoken).to_contain_text("Not sent.")
        await tab.button("Try again").click()
        await expect(refused).to_be_visible()
        await tab.button("Discard").click()
        await expect(tab.questions).to_have_count(1)
        await expect(tab.box).to_be_focused()
    finally:
        world.app.settings["MAX_MESSAGE_CHARS"] = str(MOST_CHARACTERS)
        world.app.kill()
        world.app.start()


async def test_a_server_without_redis_is_not_called_an_outage(
    world: World, new_tab: OpenTab, tmp_path: Path
) -> None:
    with world.beside(tmp_path / "data", REDIS_URL="redis://127.0.0.1:1/0") as alone:
        tab = await new_tab(alone.url)
        await tab.say("Hello")
        await tab.gets("echo: Hello")
        await expect(tab.page.get_by_role("status").filter(has_text="memory")).to_have_count(0)
        tab.may_lose_the_server = True


async def test_it_tells_in_plain_words_what_is_away(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("All is well.")
    await tab.gets("echo: All is well.")
    status = tab.page.get_by_role("status")
    world.redis.kill()
    await expect(status.filter(has_text="Nothing is lost.")).to_be_visible()
    await tab.say("Without Redis.")
    await tab.gets("echo: All is well.", "echo: Without Redis.")
    world.redis.start()
    await expect(status.filter(has_text="Nothing is lost.")).to_have_count(0)
    world.mongod.kill()
    await tab.say("Without the archive.")
    await expect(status.filter(has_text="The archive is away.")).to_be_visible()
    await tab.gets("echo: All is well.", "echo: Without Redis.", "echo: Without the archive.")
    world.mongod.start()
    await expect(status.filter(has_text="The archive is away.")).to_have_count(0)
