"""How the chat page is served: fresh, kept, compressed, and nothing else with it."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from server.edge import page

SCRIPT = b"console.log(1);" * 50
PACKED = {"gzip": gzip.compress(SCRIPT), "br": b"as if it were Brotli"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """As the build leaves it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>", encoding="utf-8")
    (folder / "built-from").write_text("a sum", encoding="utf-8")
    (folder / "assets" / "index-a1.js").write_bytes(SCRIPT)
    (folder / "assets" / "index-a1.js.gz").write_bytes(PACKED["gzip"])
    (folder / "assets" / "index-a1.js.br").write_bytes(PACKED["br"])
    (folder / "assets" / "index-a1.css").write_text("p {}", encoding="utf-8")
    (folder / "assets" / "icon-a1.svg").write_text("<svg/>", encoding="utf-8")
    (folder / "assets" / "KaTeX_Main-a1.woff2").write_bytes(b"wOF2")
    (folder / "assets" / "notes.txt").write_text("not of the page", encoding="utf-8")
    return folder


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[ClientSession]:
    """To a server of the page in ``dist``, whether that is there or not."""
    app = web.Application()
    page.add_routes(app, tmp_path / "dist")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    # What is packed is to be seen as it comes.
    async with ClientSession(url, auto_decompress=False) as session:
        yield session
    await runner.cleanup()


async def test_the_page_itself_is_always_asked_for_anew(http: ClientSession, built: Path) -> None:
    async with http.get("/") as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert await response.text() == "<!doctype html>"
        tag = response.headers["ETag"]
    async with http.get("/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index-a1.js", "text/javascript; charset=utf-8"),
        ("index-a1.css", "text/css; charset=utf-8"),
        ("icon-a1.svg", "image/svg+xml"),
        ("KaTeX_Main-a1.woff2", "font/woff2"),
    ],
)
async def test_an_asset_is_kept_for_a_year(
    http: ClientSession, built: Path, name: str, kind: str
) -> None:
    async with http.get(f"/assets/{name}") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == kind
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("identity", None), ("deflate", None)],
)
async def test_it_comes_packed_to_whom_that_can_read(
    http: ClientSession, built: Path, accepted: str, sent: str | None
) -> None:
    headers = {"Accept-Encoding": accepted}
    async with http.get("/assets/index-a1.js", headers=headers) as response:
        assert response.headers.get("Content-Encoding") == sent
        assert await response.read() == (PACKED[sent] if sent else SCRIPT)
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/built-from",
        "/assets/",
        "/assets/notes.txt",
        "/assets/index-a1.js.gz",
        "/assets/index-b2.js",
        "/assets/..%2findex.html",
        "/assets/..%2f..%2fmain.js",
        "/assets/%00.js",
        "/assets/" + "a" * 5000 + ".js",
        "/README.md",
        "/..%2fmain.py",
    ],
)
async def test_nothing_but_the_page_is_served(http: ClientSession, built: Path, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404


@pytest.mark.parametrize("path", ["/", "/assets/index-a1.js", "/assets/icon-a1.svg"])
async def test_it_is_held_to_a_strict_policy(http: ClientSession, built: Path, path: str) -> None:
    async with http.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["require-trusted-types-for"] == "'script'"
        assert rules["trusted-types"] == "'none'"
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_without_a_build_it_says_how_to_get_one_and_serves_it_when_it_is_there(
    http: ClientSession, tmp_path: Path
) -> None:
    async with http.get("/") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        text = await response.text()
        assert "make setup" in text
        assert "Node.js" in text
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!doctype html>", encoding="utf-8")
    async with http.get("/") as response:
        assert await response.text() == "<!doctype html>"
