"""What people do with the chat page."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import ViewportSize, expect

from tests.web.browsing import DESKTOP, PHONE, OpenTab, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_newcomers_first_chat(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    await expect(tab.box).to_be_focused()
    await expect(tab.button("Send")).to_be_visible()
    gate = world.answer_held("Nice to **meet**", " you.")
    await tab.box.fill("My name is Ada.")
    await tab.button("Send").click()
    await expect(tab.box).to_be_focused()
    await expect(tab.box).to_have_value("")
    await expect(tab.questions).to_contain_text(["My name is Ada."])
    await expect(tab.answers.locator("strong")).to_have_text("meet")
    await expect(tab.button("Stop")).to_be_visible()
    await expect(tab.conversation).to_have_attribute("aria-busy", "true")
    gate.set()
    await tab.gets("Nice to meet you.")
    await expect(tab.button("Send")).to_be_visible()
    await expect(tab.conversation).to_have_attribute("aria-busy", "false")
    await expect(tab.chats.get_by_role("link", name="My name is Ada.")).to_have_attribute(
        "aria-current", "page"
    )
    await expect(tab.page).to_have_url(re.compile(r"/#/c/[0-9a-f-]{36}$"))
    await expect(tab.page).to_have_title("My name is Ada. · Mnemosio")


async def test_enter_sends_and_shift_with_it_breaks_the_line(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.box.press_sequentially("one")
    await tab.box.press("Shift+Enter")
    await tab.box.press_sequentially("two")
    await expect(tab.box).to_have_value("one\ntwo")
    # As it comes while an input method composes: the Enter is not the page's.
    await tab.box.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    await expect(tab.box).to_have_value("one\ntwo")
    await tab.box.press("Enter")
    await expect(tab.box).to_have_value("")
    await expect(tab.questions).to_contain_text(["one\ntwo"])
    await tab.gets("echo: one two")


async def test_a_reload_in_the_middle_of_an_answer_goes_on_with_it(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    gate = world.answer_held("Half of it, ", "and the rest.")
    await tab.say("Tell me.")
    await expect(tab.answers).to_contain_text(["Half of it,"])
    await tab.box.fill("not sent yet")
    await tab.page.reload()
    await expect(tab.answers).to_contain_text(["Half of it,"])
    await expect(tab.box).to_have_value("not sent yet")
    await expect(tab.button("Stop")).to_be_visible()
    gate.set()
    await tab.gets("Half of it, and the rest.")
    await expect(tab.questions).to_have_count(1)
    assert len(world.provider.chats) == 1


async def test_two_tabs_show_the_same(world: World, new_tab: OpenTab) -> None:
    one = await new_tab()
    await one.say("First.")
    await one.gets("echo: First.")
    two = await new_tab(one.page.url, beside=one)
    await two.gets("echo: First.")
    gate = world.answer_held("Said to ", "both.")
    await two.say("Second.")
    await expect(one.questions).to_contain_text(["First.", "Second."])
    await expect(one.answers).to_contain_text(["echo: First.", "Said to"])
    gate.set()
    for tab in (one, two):
        await tab.gets("echo: First.", "Said to both.")


async def test_two_devices_with_one_token_are_one_person(world: World, new_tab: OpenTab) -> None:
    one = await new_tab()
    await one.say("From my desk.")
    await one.gets("echo: From my desk.")
    kept = await one.page.context.storage_state()
    two = await new_tab(one.page.url, storage_state=kept, viewport=DESKTOP)
    await two.gets("echo: From my desk.")
    await two.say("From the train.")
    await one.gets("echo: From my desk.", "echo: From the train.")
    await two.page.get_by_role("link", name="New conversation").click()
    await two.say("Something else.")
    await expect(one.chats.get_by_role("link", name="Something else.")).to_be_visible()


@pytest.mark.parametrize("by", ["button", "Escape"])
async def test_stop_keeps_what_was_said(world: World, new_tab: OpenTab, by: str) -> None:
    tab = await new_tab()
    world.answer_held("As far as this, ", "and no further.")
    await tab.say("Go on.")
    await expect(tab.answers).to_contain_text(["As far as this,"])
    if by == "button":
        await tab.button("Stop").click()
    else:
        await tab.page.keyboard.press("Escape")
    await tab.gets("As far as this,")
    await expect(tab.answers.get_by_text("Stopped.")).to_be_visible()
    await expect(tab.box).to_be_focused()
    await expect(tab.answers).not_to_contain_text(["no further"])


async def test_escape_that_ends_something_else_does_not_stop_the_answer(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    world.answer_held("As far as this, ", "and no further.")
    await tab.say("Go on.")
    await expect(tab.answers).to_contain_text(["As far as this,"])
    await tab.chats.get_by_role("button", name="Rename").click()
    title = tab.chats.get_by_role("textbox", name="Title")
    composing = {"key": "Escape", "isComposing": True, "bubbles": True}
    await title.dispatch_event("keydown", composing)
    await title.press("Escape")
    await expect(title).to_have_count(0)
    await tab.chats.get_by_role("button", name="Delete").click()
    await tab.page.keyboard.press("Escape")
    await expect(tab.button("Keep")).to_have_count(0)
    search = tab.page.get_by_role("searchbox", name="Search your chats")
    await search.fill("Go")
    await search.press("Escape")
    await expect(search).to_have_value("")
    await tab.questions.hover()
    await tab.button("Edit").click()
    editor = tab.page.get_by_role("textbox", name="What you said")
    await editor.dispatch_event("keydown", composing)
    await expect(editor).to_be_visible()
    await editor.press("Escape")
    await expect(editor).to_have_count(0)
    await tab.page.set_viewport_size(ViewportSize(**PHONE))
    await tab.button("Your chats").click()
    await expect(tab.chats).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(tab.chats).to_be_hidden()
    await asyncio.sleep(0.3)
    await expect(tab.button("Stop")).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(tab.answers.get_by_text("Stopped.")).to_be_visible()


async def test_what_is_sent_while_it_answers_waits_for_its_turn(
    world: World, new_tab: OpenTab
) -> None:
    tab = await new_tab()
    gate = world.answer_held("One ", "done.")
    await tab.say("First.")
    await expect(tab.answers).to_contain_text(["One"])
    await tab.box.fill("Second.")
    await tab.button("Send").click()
    await expect(tab.answers.get_by_text("Waits for its turn")).to_be_visible()
    gate.set()
    await tab.gets("One done.", "One done.")
    await expect(tab.questions).to_contain_text(["First.", "Second."])


async def test_regenerate_answers_anew(world: World, new_tab: OpenTab) -> None:
    tab = await new_tab()
    world.answer("The first try.")
    await tab.say("Try.")
    await tab.gets("The first try.")
    world.answer("The second try.")
    await tab.button("Regenerate").click()
    await tab.gets("The second try.")
    await expect(tab.questions).to_contain_text(["Try."])
    await tab.page.reload()
    await tab.gets("The second try.")


async def test_an_edit_replaces_what_followed(new_tab: OpenTab) -> None:
    tab = await new_tab()
    for number, text in enumerate(["one", "two"], start=1):
        await tab.say(text)
        await expect(tab.answers).to_have_count(number)
    await tab.gets("echo: one", "echo: two")
    await tab.questions.first.hover()
    await tab.questions.first.get_by_role("button", name="Edit").click()
    editor = tab.page.get_by_role("textbox", name="What you said")
    await expect(editor).to_be_focused()
    await editor.fill("three")
    await editor.press("Enter")
    await tab.gets("echo: three")
    await expect(tab.questions).to_contain_text(["three"])
    await tab.page.reload()
    await tab.gets("echo: three")


async def test_a_conversation_is_renamed_in_its_place(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("A title that is made")
    await tab.gets("echo: A title that is made")
    for wanted, key in (("Kept", "Enter"), ("Not kept", "Escape")):
        await tab.chats.get_by_role("button", name="Rename").click()
        title = tab.chats.get_by_role("textbox", name="Title")
        await expect(title).to_be_focused()
        await title.fill(wanted)
        await title.press(key)
        await expect(tab.chats.get_by_role("link", name="Kept", exact=True)).to_be_visible()
    await expect(tab.page.get_by_role("heading", name="Kept")).to_be_visible()


async def test_a_conversation_is_deleted_after_a_question(new_tab: OpenTab) -> None:
    tab = await new_tab()
    await tab.say("To be forgotten")
    await tab.gets("echo: To be forgotten")
    gone = tab.page.url
    link = tab.chats.get_by_role("link", name="To be forgotten")
    await tab.button("Delete").click()
    await tab.button("Keep").click()
    await expect(link).to_be_visible()
    await tab.button("Delete").click()
    await expect(tab.chats.get_by_text("Delete “To be forgotten” for good?")).to_be_visible()
    await tab.button("Delete").click()
    await expect(link).to_have_count(0)
    await expect(tab.page.get_by_role("heading", name="What is on your mind?")).to_be_visible()
    await tab.page.goto(gone)
    await expect(tab.page.get_by_text("It was deleted, or it is somebody else’s.")).to_be_visible()


async def test_the_list_is_searched_by_title(new_tab: OpenTab) -> None:
    tab = await new_tab()
    for title in ("Café in Trieste", "The garden in spring"):
        await tab.page.get_by_role("link", name="New conversation").click()
        await tab.say(title)
        await tab.gets(f"echo: {title}")
    links = tab.chats.get_by_role("listitem").get_by_role("link")
    await expect(links).to_have_text(["The garden in spring", "Café in Trieste"])
    search = tab.page.get_by_role("searchbox", name="Search your chats")
    await search.fill("cafe tri")
    await expect(links).to_have_text(["Café in Trieste"])
    await links.click()
    await tab.gets("echo: Café in Trieste")
    await search.press("Escape")
    await expect(links).to_have_count(2)
    await tab.page.go_back()
    await tab.gets("echo: The garden in spring")


async def test_what_is_typed_after_a_click_belongs_where_it_led(new_tab: OpenTab) -> None:
    """However soon: the browser tells of a new address later, and the page does not wait for it."""
    tab = await new_tab()
    await tab.say("Hello")
    await tab.gets("echo: Hello")
    await tab.box.fill("said to the first")
    links = {
        "new": tab.page.get_by_role("link", name="New conversation"),
        "first": tab.chats.get_by_role("listitem").get_by_role("link"),
    }
    clicked_and_looked = """link => {
        link.click();
        const box = () => document.getElementById("message").value;
        return Promise.resolve().then(box);
    }"""
    assert await links["new"].evaluate(clicked_and_looked) == ""
    assert await links["first"].evaluate(clicked_and_looked) == "said to the first"


async def test_a_second_user_sees_nothing_of_the_first(new_tab: OpenTab) -> None:
    ada = await new_tab()
    await ada.say("My secret")
    await ada.gets("echo: My secret")
    eve = await new_tab()
    await expect(eve.chats.get_by_text("What you talk about is kept here.")).to_be_visible()
    await eve.page.goto(ada.page.url)
    await expect(eve.page.get_by_text("It was deleted, or it is somebody else’s.")).to_be_visible()
    await expect(eve.page.get_by_text("My secret")).to_have_count(0)
