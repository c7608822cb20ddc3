"""The chat page: what ``scripts/build-page.sh`` has built of ``web/page``, where it has."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

# The page needs nothing but its own files and this server. It never makes markup of text, and
# require-trusted-types-for holds it, and what it is made with, to that.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",  # images of messages, which the page makes itself
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FRESH = {"Cache-Control": "no-cache"}
# The name of an asset has a hash of its content in it: it never changes.
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
ASSET = re.compile(r"[A-Za-z0-9_.-]{1,100}")

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mnemosio</title>
<h1>Mnemosio</h1>
<p>The server runs, and Socket.IO clients can connect. Its chat page is not built yet:
install <a href="https://nodejs.org">Node.js</a> 20.19 or newer, run <code>make setup</code>,
and reload.</p>
</html>
"""


def add_routes(app: web.Application, built: Path) -> None:
    """``built`` is the folder that the build writes; it may come while the server runs."""
    index = built / "index.html"

    async def page(_: web.Request) -> web.StreamResponse:
        if not index.is_file():
            return web.Response(
                text=NOT_BUILT, content_type="text/html", headers={**HEADERS, **FRESH}
            )
        return _file(index, "text/html; charset=utf-8", FRESH)

    async def asset(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        file = built / "assets" / name
        kind = TYPES.get(file.suffix)
        if kind is None or not ASSET.fullmatch(name) or not file.is_file():
            raise web.HTTPNotFound
        return _file(file, kind, KEPT)

    app.router.add_get("/", page)
    app.router.add_get("/assets/{name}", asset)


def _file(path: Path, kind: str, caching: dict[str, str]) -> web.FileResponse:
    # Of its own accord this sends path.br or path.gz to who accepts that.
    headers = {**HEADERS, **caching, "Content-Type": kind, "Vary": "Accept-Encoding"}
    return web.FileResponse(path, headers=headers)
