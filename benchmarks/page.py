"""The chat page: how much a browser has to load, and when one can write.

In headless Chromium, before the server with its offline model and its embedded store.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.report import Missing, Row
from benchmarks.servers import HOME
from tests.support.app import App

BUILT = HOME / "web" / "page" / "dist"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# Looks once a frame, from the first on; the page's policy allows no other way to look in it.
WATCH = """
const seen = {};
const look = () => {
  if (document.querySelector("textarea")) seen.writes ??= performance.now();
  if (document.querySelector("nav .quiet")) seen.answered ??= performance.now();
  if (seen.writes && seen.answered) document.title = `${seen.writes} ${seen.answered}`;
  else requestAnimationFrame(look);
};
look();
"""
TIMES = re.compile(r"^[\d.]+ [\d.]+$")


async def measure(long: bool) -> list[Row]:
    if not (BUILT / "index.html").is_file():
        raise Missing("the chat page is not built (`make setup` with Node)")
    rows = [weight("br", "Brotli"), weight("gz", "gzip")]
    times = await visits(20 if long else 5)
    names = ("until one can write", "until the server has answered")
    return rows + [
        Row(f"the page: {name}", "ms", median(found))
        for name, found in zip(names, zip(*times, strict=True), strict=True)
    ]


def weight(suffix: str, name: str) -> Row:
    index = (BUILT / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r'src="/([^"]+\.js)"', index)
    size = sum((BUILT / f"{script}.{suffix}").stat().st_size for script in scripts)
    return Row(f"the page: initial script, {name}", "kB", size / 1000)


async def visits(count: int) -> list[tuple[float, float]]:
    """In ms from each navigation; each visit with a cache and a storage of its own."""
    try:
        from playwright.async_api import async_playwright, expect
    except ImportError:
        raise Missing("playwright is not installed (`make test` gets it)") from None
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        raise Missing("there is no Chromium (`make test` gets one)")
    found = []
    with tempfile.TemporaryDirectory(prefix="mnemosio-bench-") as folder:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            with App(Path(folder, "data")) as app:
                for _ in range(count):
                    context = await browser.new_context()
                    await context.add_init_script(WATCH)
                    page = await context.new_page()
                    await page.goto(app.url)
                    await expect(page).to_have_title(TIMES, timeout=20_000)
                    written, answered = (await page.title()).split()
                    found.append((float(written), float(answered)))
                    await context.close()
            await browser.close()
    return found
