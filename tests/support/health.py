"""What a server says about itself over HTTP, without holding up the test's own event loop."""

from __future__ import annotations

import re
from typing import Any

import aiohttp

from tests.support.app import App


async def ready(app: App) -> dict[str, Any]:
    """The body of ``/readyz``, with its ``status``."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
        session.get(f"{app.url}/readyz") as response,
    ):
        body: dict[str, Any] = await response.json()
        return {"status": response.status, **body}


async def metric(app: App, name: str) -> float | None:
    """The value of a metric that has no labels; None where there is no such."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
        session.get(f"{app.url}/metrics") as response,
    ):
        assert response.status == 200, response.status
        assert response.content_type == "text/plain"
        found = re.search(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)
        return float(found[1]) if found else None
