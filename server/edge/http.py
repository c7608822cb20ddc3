"""The plain HTTP side: what operators and load balancers ask, and the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from server.edge import page
from server.edge.handshakes import Handshakes
from server.observability.health import Health
from server.observability.metrics import CONTENT_TYPE, Metrics

# A poll of several processes' clients comes to any of them, and only one knows the connection.
NO_POLLING = (
    "This server is several processes, and takes websockets only: "
    'connect with transports: ["websocket"].\n'
)


def application(health: Health, handshakes: Handshakes, *, websocket_only: bool) -> web.Application:
    """An application that lets no new client in while it is draining: it is to try elsewhere, and
    stock clients do, again and again. Who is here already may finish what it is doing."""

    @web.middleware
    async def refuse_newcomers(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_new = request.path.startswith("/socket.io") and "sid" not in request.query
        if is_new and health.draining:
            return web.Response(status=503, text="This server is stopping; try another.\n")
        return await handler(request)

    @web.middleware
    async def refuse_polls(request: web.Request, handler: Handler) -> web.StreamResponse:
        wanted = request.query.get("transport", "polling")
        if request.path.startswith("/socket.io") and wanted != "websocket":
            return web.Response(status=400, text=NO_POLLING)
        return await handler(request)

    refusing = [refuse_newcomers, refuse_polls] if websocket_only else [refuse_newcomers]
    return web.Application(middlewares=[handshakes.limit, *refusing])


def add_routes(
    app: web.Application,
    health: Health,
    metrics: Metrics,
    built_page: Path,
    gather: Callable[[], Awaitable[bytes]] | None,
) -> None:
    """``built_page`` is the folder with the page's files. ``gather`` gives the measures of all
    processes on this port, where this is not the only one."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        body = {"ready": health.ready, **health.components()}
        return web.Response(
            body=orjson.dumps(body),
            status=200 if health.ready else 503,
            content_type="application/json",
        )

    async def measures(_: web.Request) -> web.Response:
        text = metrics.text() if gather is None else await gather()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", measures)
    page.add_routes(app, built_page)
