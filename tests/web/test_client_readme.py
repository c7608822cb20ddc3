"""The examples that web/client/README.md prints, built with Vite and used in a real browser."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright, expect

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import HOME
from tests.support.node import require_node
from tests.support.provider import Provider, Script
from tests.web.browsing import FLAGS, require_chromium
from tests.web.conftest import SOURCE

README = (SOURCE / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
PAGE_MODULES = HOME / "web" / "page" / "node_modules"  # has Vite and react-dom

BUILD = """
import { build } from "vite";
const dedupe = ["react", "react-dom"];
await build({ logLevel: "warn", resolve: { dedupe }, build: { target: "es2022" } });
"""
MOUNT = """
import { createRoot } from "react-dom/client";
import { Chat } from "./chat";
createRoot(document.querySelector("#root")!).render(<Chat />);
"""
TSCONFIG = """{"include": ["chat.tsx"], "compilerOptions": {
"module": "ESNext", "moduleResolution": "Bundler", "target": "ES2022", "lib": ["ES2023", "DOM"],
"jsx": "react-jsx", "types": [], "strict": true, "noEmit": true, "skipLibCheck": true}}"""


def test_nothing_leads_out_of_the_package() -> None:
    assert "](" not in README.replace("](http", "")  # npm shows it without the repository


def example(language: str) -> str:
    [code] = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert ADDRESS in code
    return str(code)


@pytest.fixture
def site(built_client: Path, tmp_path: Path) -> Path:
    """An empty project in which both packages are installed, and React."""
    require_node(PAGE_MODULES.parent)
    folder = tmp_path / "site"
    (folder / "node_modules" / "@types").mkdir(parents=True)
    (folder / "node_modules" / "mnemosio-client").symlink_to(built_client)
    for name in ("vite", "react", "react-dom", "typescript", "@types/react", "csstype"):
        (folder / "node_modules" / name).symlink_to(PAGE_MODULES / name)
    (folder / "build.mjs").write_text(BUILD)
    (folder / "tsconfig.json").write_text(TSCONFIG)
    return folder


async def node(site: Path, *arguments: str) -> None:
    command = [require_node(SOURCE), *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(site)}
    ran = await asyncio.to_thread(
        subprocess.run, command, cwd=site, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """The folder over HTTP: its address."""

    async def index(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / "index.html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def browsed(start_app: StartApp, provider: Provider, site: Path) -> AsyncIterator[Page]:
    """The site, built and in a browser, beside a server that it may connect to."""
    chromium = require_chromium()
    (site / "dist").mkdir()
    async with served(site / "dist") as (host, port), async_playwright() as playwright:
        origin = f"http://{host}:{port}"
        app = await asyncio.to_thread(start_app, **with_provider(provider, CORS_ORIGINS=origin))
        for file in site.glob("*.*"):
            file.write_text(file.read_text().replace(ADDRESS, app.url))
        await node(site, "build.mjs")
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page()
        errors: list[object] = []
        page.on("pageerror", lambda error: errors.append(error))
        await page.goto(origin)
        yield page
        assert errors == []
        await browser.close()


async def test_the_browser_example_works_as_printed(
    start_app: StartApp, provider: Provider, site: Path
) -> None:
    code = example("html")
    assert len(code.splitlines()) <= 10
    (site / "index.html").write_text(f"<!doctype html>\n{code}")
    async with browsed(start_app, provider, site) as page:
        await page.keyboard.type("  \n")  # nothing is sent
        await page.keyboard.type("Hello!\n")
        await expect(page.locator("pre")).to_have_text("user: Hello!\nassistant: echo: Hello!")
        await expect(page.get_by_role("textbox")).to_have_value("")


async def test_the_react_example_works_as_printed(
    start_app: StartApp, provider: Provider, site: Path
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two."], gate=gate)
    (site / "chat.tsx").write_text(example("tsx"))
    (site / "main.tsx").write_text(MOUNT)
    (site / "index.html").write_text(
        '<!doctype html><div id="root"></div><script type="module" src="/main.tsx"></script>'
    )
    await node(site, "node_modules/typescript/bin/tsc")
    async with browsed(start_app, provider, site) as page:
        lines = page.locator("p")
        await expect(lines).to_have_text(["connected"])
        await page.get_by_role("textbox", name="Message").fill("  ")
        await page.get_by_role("button", name="Send").click()  # nothing is sent
        await expect(page.get_by_role("textbox")).to_have_value("")
        await page.get_by_role("textbox", name="Message").fill("Count.")
        await page.get_by_role("button", name="Send").click()
        await expect(lines).to_have_text(["connected", "user: Count.", "assistant: one "])
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("button", name="Stop")).to_have_count(0)
        await expect(lines).to_have_text(["connected", "user: Count.", "assistant: one "])
