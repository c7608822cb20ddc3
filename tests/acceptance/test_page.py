"""The chat page over HTTP: its files, and the headers that keep it to itself."""

from __future__ import annotations

import re

import aiohttp
import pytest

from server.edge.http import PAGE_FILES
from tests.acceptance.conftest import StartApp
from tests.support.app import HOME

TYPES = {".html": "text/html", ".css": "text/css", ".js": "javascript", ".svg": "image/svg+xml"}
WEB = HOME / "web"


async def test_each_file_comes_whole_with_its_type_and_a_strict_policy(start_app: StartApp) -> None:
    app = start_app()
    async with aiohttp.ClientSession(app.url) as http:
        for path, name in PAGE_FILES.items():
            async with http.get(path) as response:
                assert response.status == 200
                assert await response.read() == (WEB / name).read_bytes()
                assert TYPES[(WEB / name).suffix] in response.headers["Content-Type"]
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                policy = response.headers["Content-Security-Policy"]
                rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
                assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
                assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"


@pytest.mark.parametrize("path", ["/README.md", "/chat.js/", "/web/chat.js", "/..%2fmain.py"])
async def test_nothing_but_the_pages_files_is_served(start_app: StartApp, path: str) -> None:
    app = start_app()
    async with aiohttp.ClientSession(app.url) as http, http.get(path) as response:
        assert response.status == 404


def test_all_files_of_the_page_are_served_and_it_asks_for_no_others() -> None:
    assert set(PAGE_FILES.values()) == {path.name for path in WEB.iterdir()}
    page = (WEB / "index.html").read_text(encoding="utf-8")
    wanted = set(re.findall(r"""(?:src|href)="([^"]+)\"""", page))
    for script in WEB.glob("*.js"):
        wanted |= set(re.findall(r"""from "\./([^"]+)\"""", script.read_text(encoding="utf-8")))
    assert wanted <= set(PAGE_FILES.values())
    assert wanted | {"index.html"} == set(PAGE_FILES.values())


def test_the_page_makes_no_markup_of_text() -> None:
    page = (WEB / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|style=", page)
    for script in WEB.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_its_controls_have_their_names() -> None:
    page = (WEB / "index.html").read_text(encoding="utf-8")
    assert 'role="log" aria-label="Conversation"' in page
    assert '<textarea id="text" rows="1" aria-label="Message"' in page
    assert 'aria-live="polite"' in page
    assert re.search(r"<button [^>]*>Stop</button>", page)
    assert re.search(r"<button [^>]*>Send</button>", page)
