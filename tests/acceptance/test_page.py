"""The chat page as it is built, over HTTP. What it does is in tests/web/test_page_*.py."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.conftest import StartApp
from tests.support.app import HOME
from tests.support.node import require_node
from tests.support.page import require_built_page

PAGE = HOME / "web" / "page"
MOST_INITIAL_SCRIPT = 250_000


def wanted_by(index: str) -> list[str]:
    return re.findall(r"""(?:src|href)="([^"]+)\"""", index)


async def test_the_page_and_all_it_asks_for_is_served(start_app: StartApp) -> None:
    built = require_built_page()
    app = start_app()
    async with aiohttp.ClientSession(app.url) as http:
        async with http.get("/") as response:
            index = await response.text()
            assert index == (built / "index.html").read_text(encoding="utf-8")
        for path in wanted_by(index):
            async with http.get(path) as response:
                assert response.status == 200
                assert await response.read() == (built / path.lstrip("/")).read_bytes()
                assert "Content-Security-Policy" in response.headers


def test_what_is_packed_is_what_it_is_packed_of() -> None:
    files = list((require_built_page() / "assets").glob("*.js"))
    assert files
    for file in files:
        assert gzip.decompress(Path(f"{file}.gz").read_bytes()) == file.read_bytes()
        assert Path(f"{file}.br").stat().st_size < Path(f"{file}.gz").stat().st_size


@pytest.mark.parametrize("packed", ["gz", "br"])
def test_the_initial_script_is_light(packed: str) -> None:
    built = require_built_page()
    index = (built / "index.html").read_text(encoding="utf-8")
    scripts = [path for path in wanted_by(index) if path.endswith(".js")]
    assert scripts
    weight = sum((built / f"{path[1:]}.{packed}").stat().st_size for path in scripts)
    assert weight <= MOST_INITIAL_SCRIPT


def test_nothing_is_asked_for_from_elsewhere() -> None:
    built = require_built_page()
    index = (built / "index.html").read_text(encoding="utf-8")
    assert all(path.startswith("/assets/") for path in wanted_by(index))
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|style=", index)
    for sheet in (built / "assets").glob("*.css"):
        addresses = re.findall(r"url\(([^)]*)\)|@import", sheet.read_text(encoding="utf-8"))
        assert all(address.startswith("/assets/") for address in addresses), sheet


def test_the_page_makes_no_markup_of_text() -> None:
    sources = [*(PAGE / "src").rglob("*.ts"), *(PAGE / "src").rglob("*.tsx")]
    assert len(sources) > 10
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|dangerouslySet"
    for source in sources:
        code = re.sub(r"^\s*//.*$", "", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not re.search(markup, code), source


def test_its_types_fit_together_and_fit_the_client() -> None:
    node = require_node(PAGE)
    done = subprocess.run(
        [node, "node_modules/typescript/bin/tsc"], cwd=PAGE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
