"""The least a server can do: ``python -m benchmarks.floor_server PROVIDER_PORT``.

A websocket on one side, the provider's stream on the other, each token passed on as it comes.
Nothing is stored, decoded through a library, numbered or resumable.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web

from benchmarks.timing import settle_garbage_collector
from tests.support.ports import free_port


def relay(provider_port: int) -> web.Application:
    url = f"http://127.0.0.1:{provider_port}/v1/chat/completions"

    async def chat(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            async for message in socket:
                ask = {"messages": [{"role": "user", "content": message.data}], "stream": True}
                async with session.post(url, json=ask) as stream:
                    async for line in stream.content:
                        if line.startswith(b"data: {"):
                            delta = orjson.loads(line[6:])["choices"][0]["delta"]
                            if token := delta.get("content"):
                                await socket.send_str(token)
                await socket.send_str("")
        return socket

    app = web.Application()
    app.router.add_get("/", chat)
    return app


async def main(provider_port: int) -> None:
    runner = web.AppRunner(relay(provider_port), access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    settle_garbage_collector()
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(main(int(sys.argv[1])))
