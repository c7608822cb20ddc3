"""The chat page in a real browser, before a real server, Redis, MongoDB and provider.

One of each for all of these tests; each test has visitors of its own, who are new guests. The
tests and fixtures share one event loop: the browser's driver and the provider live in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests.acceptance.conftest import with_provider
from tests.support.app import App
from tests.support.mongod import Mongod
from tests.support.page import require_built_page
from tests.support.provider import Body, Provider, Script, echo
from tests.support.redis_server import RedisServer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
DESKTOP = {"width": 1200, "height": 800}
PHONE = {"width": 390, "height": 844}
MOST_CHARACTERS = 20_000
# Chromium's own line about a connection that is gone: no script can keep it from writing that.
GONE = re.compile(r"WebSocket connection to .* failed|Failed to load resource: net::ERR_")

expect.set_options(timeout=20_000)


def require_chromium() -> str:
    """Skips the test where there is none; fails it where CI says that there must be one."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium on this machine")
        pytest.skip("there is no Chromium on this machine")
    return found


@dataclass
class World:
    provider: Provider
    redis: RedisServer
    mongod: Mongod
    app: App
    browser: Browser

    def beside(self, data_dir: Path, **settings: str) -> App:
        """Another server for the same users, with settings of its own."""
        own = {"PORT", "DATA_DIR"}
        shared = {name: value for name, value in self.app.settings.items() if name not in own}
        return App(data_dir, **{**shared, **settings})

    def answer(self, *chunks: str, **how: Any) -> None:
        """What is answered from now on, whatever is asked."""
        self.answer_by(lambda _: Script(list(chunks), **how))

    def answer_by(self, respond: Callable[[Body], Script]) -> None:
        self.provider.respond = respond

    def answer_held(self, before: str, after: str) -> asyncio.Event:
        """An answer that stops after ``before`` until the event is set."""
        gate = asyncio.Event()
        self.answer(before, after, gate=gate)
        return gate


@dataclass
class Tab:
    """One tab of somebody who uses the page, by what it says and by what its parts are named."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    may_lose_the_server: bool = False

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def conversation(self) -> Locator:
        return self.page.get_by_label("Conversation", exact=True)

    @property
    def questions(self) -> Locator:
        return self.conversation.get_by_role("article", name="You")

    @property
    def answers(self) -> Locator:
        return self.conversation.get_by_role("article", name="Answer")

    @property
    def chats(self) -> Locator:
        return self.page.get_by_role("navigation", name="Your chats")

    @property
    def spoken(self) -> Locator:
        """What a screen reader is told."""
        return self.page.locator(".heard[role=status]")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def open(self, url: str) -> Tab:
        await self.page.goto(url)
        await expect(self.box).to_be_visible()
        return self

    async def say(self, text: str) -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def gets(self, *answers: str) -> None:
        """Wait until these are the answers, complete."""
        await expect(self.answers).to_contain_text(list(answers))
        await expect(self.button("Stop")).to_have_count(0)

    def heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def check(self) -> None:
        """No errors in the console, which is where a breach of the page's policy is told too."""
        allowed = GONE if self.may_lose_the_server else None
        wrong = [line for line in self.complaints if not (allowed and allowed.search(line))]
        assert not wrong, wrong


OpenTab = Callable[..., Awaitable[Tab]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world_for_all(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    require_built_page()
    chromium = require_chromium()
    folder = tmp_path_factory.mktemp("page")
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        mongod = stack.enter_context(Mongod(folder / "mongod"))
        provider = Provider()
        await provider.start()
        stack.push_async_callback(provider.stop)
        settings = with_provider(
            provider,
            REDIS_URL=redis.url,
            MONGODB_URI=mongod.uri,
            TURN_LEASE_SECONDS="2",
            MAX_MESSAGE_CHARS=str(MOST_CHARACTERS),
        )
        app = stack.enter_context(App(folder / "data", **settings))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        stack.push_async_callback(browser.close)
        yield World(provider, redis, mongod, app, browser)


@pytest_asyncio.fixture(loop_scope="session")
async def world(world_for_all: World) -> World:
    world_for_all.answer_by(echo)
    world_for_all.provider.requests.clear()
    if world_for_all.app.process is None:  # the test before failed while it was away
        world_for_all.app.start()
    return world_for_all


@pytest_asyncio.fixture(loop_scope="session")
async def new_tab(world: World) -> AsyncIterator[OpenTab]:
    """Opens the page: as somebody new, or ``beside`` a tab, as the same person."""
    tabs: list[Tab] = []

    async def new_tab(url: str = "", beside: Tab | None = None, **how: Any) -> Tab:
        if beside is None:
            how = {"viewport": DESKTOP, **how}
            page = await (await world.browser.new_context(**how)).new_page()
        else:
            page = await beside.page.context.new_page()
        tab = Tab(page)
        page.on("console", tab.heard)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tabs.append(tab)
        return await tab.open(url or world.app.url)

    yield new_tab
    for context in {id(tab.page.context): tab.page.context for tab in tabs}.values():
        await context.close()
    for tab in tabs:
        tab.check()
