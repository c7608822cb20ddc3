"""A chat server as one writes it in an hour: ``python -m benchmarks.plain_server PROVIDER_PORT``.

python-socketio and ChatOpenAI with their defaults, one event a token. Nothing is stored.
"""

from __future__ import annotations

import asyncio
import sys

import socketio
from aiohttp import web
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.support.ports import free_port


def chat(provider_port: int) -> web.Application:
    model = ChatOpenAI(
        model="benchmark",
        base_url=f"http://127.0.0.1:{provider_port}/v1",
        api_key=SecretStr("none"),
    )
    sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*")
    app = web.Application()
    sio.attach(app)

    async def message(sid: str, text: str) -> None:
        async for chunk in model.astream([("user", text)]):
            if chunk.content:
                await sio.emit("token", chunk.content, to=sid)
        await sio.emit("end", to=sid)

    sio.on("message", message)
    return app


async def main(provider_port: int) -> None:
    runner = web.AppRunner(chat(provider_port), access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
