"""A model provider that speaks to the beat: ``python -m benchmarks.provider TOKENS_PER_SECOND``.

Answers OpenAI's streaming chat completions with stamped tokens, the first at once and each next one
when it is due. The last message says how many: "tokens 200", say. It prints its port when it
listens.

It must never be what holds a server up, so a stream is no task but an entry in one queue, and all
of a chunk but its token is encoded beforehand. Who reads too slowly is not waited for: the beat
goes on, and an answer is small enough to be kept for him.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import deque
from dataclasses import dataclass
from typing import cast

import uvloop

from benchmarks.timing import settle_garbage_collector
from benchmarks.tokens import stamped

BACKLOG = 4096
SHORTEST_WAIT_SECONDS = 0.001
"""Tokens due within it are said in one go. A token's stamp is of when it was said."""

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb"tokens (\d+)")


def question(tokens: int) -> str:
    """What to ask for an answer of so many tokens."""
    return f"tokens {tokens}"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunks:
    """The pieces of an answer, with every field OpenAI's have: to decode them is part of the work.

    ``tells_usage``: as OpenAI's are where the request asks for the usage.
    """

    def __init__(self, *, tells_usage: bool) -> None:
        self._tells_usage = tells_usage
        self.begin = HEAD + self._event({"role": "assistant", "content": "", "refusal": None})
        # All tokens are of one width, so only the text in the middle changes.
        sample = stamped(0)
        self.before, self.after = self._event({"content": sample}).split(sample.encode())
        self.end = self._event({}, "stop")
        if tells_usage:
            self.end += self._usage()
        self.end += _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def _event(self, delta: dict[str, str | None], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._encoded([choice], {"usage": None} if self._tells_usage else {})

    def _usage(self) -> bytes:
        usage = {"prompt_tokens": 10, "completion_tokens": 200, "total_tokens": 210}
        return self._encoded([], {"usage": usage})

    @staticmethod
    def _encoded(choices: list[dict[str, object]], more: dict[str, object]) -> bytes:
        event = {
            "id": "chatcmpl-benchmark-0000000000000000",
            "object": "chat.completion.chunk",
            "created": 1_760_000_000,
            "model": "benchmark",
            "service_tier": "default",
            "system_fingerprint": "fp_0000000000",
            "choices": choices,
            **more,
            "obfuscation": "0123456789",
        }
        return _chunk(f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode())


PLAIN = Chunks(tells_usage=False)
WITH_USAGE = Chunks(tells_usage=True)


@dataclass(slots=True)
class Stream:
    """An answer on its way."""

    transport: asyncio.Transport
    chunks: Chunks
    tokens: int
    due: float
    """When to say the next token, by the loop's clock."""
    said: int = 0
    is_cut: bool = False
    """Its reader has gone."""

    def say(self) -> None:
        """The next token, and the end after the last one."""
        text = stamped(self.said).encode()
        self.said += 1
        end = self.chunks.end if self.is_over else b""
        self.transport.write(self.chunks.before + text + self.chunks.after + end)

    @property
    def is_over(self) -> bool:
        return self.said >= self.tokens


class Beat:
    """Says every stream's tokens when they are due."""

    def __init__(self, pause: float) -> None:
        """``pause``: seconds between two tokens of an answer."""
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        # The soonest first: all pause alike, so who has spoken goes to the end, and so does
        # who begins.
        self._streams: deque[Stream] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def streams(self) -> int:
        """On their way."""
        return len(self._streams)

    def begin(self, transport: asyncio.Transport, chunks: Chunks, tokens: int) -> Stream:
        now = self._loop.time()
        stream = Stream(transport, chunks, tokens, now)
        transport.write(chunks.begin)
        self._say(stream)
        if self._timer is None:
            self._set_timer(now)
        return stream

    def _say(self, stream: Stream) -> None:
        stream.say()
        if not stream.is_over:
            stream.due += self._pause
            self._streams.append(stream)

    def _tick(self) -> None:
        now, streams = self._loop.time(), self._streams
        while streams and streams[0].due <= now:
            stream = streams.popleft()
            if not stream.is_cut:
                self._say(stream)
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        self._timer = None
        if self._streams:
            wait = max(self._streams[0].due - now, SHORTEST_WAIT_SECONDS)
            self._timer = self._loop.call_later(wait, self._tick)


class Connection(asyncio.Protocol):
    """Request after request."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._unread = b""
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, error: Exception | None) -> None:
        if self._stream is not None:
            self._stream.is_cut = True

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n") + 4) >= 4:
            length = _LENGTH.search(self._unread, 0, end)
            whole = end + (int(length[1]) if length else 0)
            if len(self._unread) < whole:
                return
            body, self._unread = self._unread[end:whole], self._unread[whole:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        asked = _TOKENS.match(body, max(0, body.rfind(b"tokens ")))
        if asked is None:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        chunks = WITH_USAGE if b'"include_usage":true' in body.replace(b" ", b"") else PLAIN
        self._stream = self._beat.begin(self._transport, chunks, int(asked[1]))


async def main(tokens_per_second: float) -> None:
    beat = Beat(1 / tokens_per_second)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(beat), "127.0.0.1", 0, backlog=BACKLOG
    )
    settle_garbage_collector()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1])))
