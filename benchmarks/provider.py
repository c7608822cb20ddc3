"""A model provider that speaks to the beat: ``python -m benchmarks.provider TOKENS_PER_SECOND``.

Answers OpenAI's streaming chat completions with stamped tokens, the first at once and each next one
when it is due. The last message says how many: "tokens 200", say. It prints its port when it
listens.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

import uvloop

from benchmarks.timing import settle_garbage_collector
from benchmarks.tokens import stamped

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb"tokens (\d+)")


def question(tokens: int) -> str:
    """What to ask for an answer of so many tokens."""
    return f"tokens {tokens}"


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    """With the fields that a chunk of OpenAI's has, because decoding them is part of the work."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    event = {
        "id": "chatcmpl-benchmark-0000000000000000",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "benchmark",
        "service_tier": "default",
        "system_fingerprint": "fp_0000000000",
        "choices": [choice],
    }
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


BEGIN = _chunk(_event({"role": "assistant", "content": ""}))
END = _chunk(_event({}, "stop")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
# All tokens are of one width, so only the text in the middle changes.
_SAMPLE = stamped(0)
BEFORE, AFTER = _chunk(_event({"content": _SAMPLE})).split(_SAMPLE.encode())


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
    """One connection: request after request."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            await answer(writer, int(_TOKENS.findall(body)[-1]), pause)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(writer: asyncio.StreamWriter, tokens: int, pause: float) -> None:
    clock = asyncio.get_running_loop().time
    writer.write(HEAD + BEGIN)
    began = clock()
    for index in range(tokens):
        wait = began + index * pause - clock()
        if wait > 0:
            await asyncio.sleep(wait)
        writer.write(BEFORE + stamped(index).encode() + AFTER)
        await writer.drain()
    writer.write(END)


async def main(tokens_per_second: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer, 1 / tokens_per_second)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    settle_garbage_collector()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1])))
