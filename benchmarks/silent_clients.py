"""Clients that connect and then only answer pings: ``python -m benchmarks.silent_clients PORT``.

Bare websockets, because thousands of them share the machine with the server they measure: no
library, no task and no copy of what they hear. They offer compression, as browsers do, unless
``--plain`` is given, and read it where a server takes it.

Reads lines, each a command, and answers each with a line of JSON:

- ``connect COUNT AT_ONCE``: so many more, with so many under way at a time;
- ``state``: how it stands;
- ``drop``: end all connections, without a goodbye.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import uvloop

from benchmarks.timing import settle_garbage_collector

SOURCES = 50
"""Addresses of the loopback network that clients come from: each has ports of its own."""
CONNECT_SECONDS = 30.0

HEAD_END = b"\r\n\r\n"
TEXT, CLOSE, COMPRESSED = 0x1, 0x8, 0x40

Frame = tuple[int, bytes]
"""The first byte, and what it carries."""


def text_frame(text: bytes) -> bytes:
    """A client's frames are masked; with zeros, the text stays what it is."""
    return bytes((0x80 | TEXT, 0x80 | len(text), 0, 0, 0, 0)) + text


CONNECT = text_frame(b"40")
PONG = text_frame(b"3")


def handshake(port: int, *, offers_compression: bool) -> bytes:
    lines = [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: bW5lbW9zaW8tYmVuY2gtMA==",
    ]
    if offers_compression:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return "\r\n".join([*lines, "", ""]).encode()


def frames(waiting: bytearray) -> Iterator[Frame]:
    """Those that have come whole; they are taken out of ``waiting``."""
    while len(waiting) >= 2:
        length, start = waiting[1] & 0x7F, 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(waiting) < start:
                return
            length = int.from_bytes(waiting[2:start], "big")
        if len(waiting) < start + length:
            return
        frame = waiting[0], bytes(waiting[start : start + length])
        del waiting[: start + length]
        yield frame


class Client(asyncio.Protocol):
    """One of them. ``connected`` is done once the server has let it in."""

    __slots__ = ("_head", "_inflate", "_of", "_waiting", "connected", "pings", "transport")

    def __init__(self, of: Clients) -> None:
        self._of = of
        self._head = True
        self._inflate: Any = None
        self._waiting = bytearray()
        self.connected: asyncio.Future[None] = of.loop.create_future()
        self.transport: asyncio.Transport | None = None
        self.pings = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._of.handshake)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        if self._head:
            end = self._waiting.find(HEAD_END)
            if end < 0:
                return
            self._upgraded(bytes(self._waiting[:end]).lower())
            del self._waiting[: end + len(HEAD_END)]
        for first, body in frames(self._waiting):
            self._hear(first, body)

    def _upgraded(self, head: bytes) -> None:
        self._head = False
        if not head.startswith(b"http/1.1 101 "):
            self._of.end(self, "refused")
        elif b"permessage-deflate" in head:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def _hear(self, first: int, body: bytes) -> None:
        if first & COMPRESSED:
            body = self._inflate.decompress(body + b"\x00\x00\xff\xff")
        assert self.transport is not None
        if first & 0xF == CLOSE or body[:2] == b"44":
            self._of.end(self, "refused" if not self.connected.done() else "dropped")
        elif body == b"2":
            self.pings += 1
            self.transport.write(PONG)
        elif body[:2] == b"40" and not self.connected.done():
            self.connected.set_result(None)
        elif body[:1] == b"0":
            self.transport.write(CONNECT)

    def connection_lost(self, error: Exception | None) -> None:
        self._of.end(self, "dropped" if self.connected.done() else "refused")


class Clients:
    def __init__(self, port: int, *, offers_compression: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.handshake = handshake(port, offers_compression=offers_compression)
        self._port = port
        self._here: set[Client] = set()
        self._ended: Counter[str] = Counter(dropped=0, refused=0)
        self._number = count()

    def end(self, client: Client, how: str) -> None:
        if client not in self._here:
            return
        self._here.discard(client)
        self._ended[how] += 1
        if not client.connected.done():
            client.connected.set_result(None)
        if client.transport is not None:
            client.transport.abort()

    async def connect(self, many: int, at_once: int) -> dict[str, float]:
        """What that took; those that did not get in are among the ended ones."""
        began, used = time.perf_counter(), time.process_time()
        left = iter(range(many))

        async def one_after_another() -> None:
            for _ in left:
                await self._connect_one()

        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}

    async def _connect_one(self) -> None:
        client = Client(self)
        self._here.add(client)
        source = f"127.0.0.{2 + next(self._number) % SOURCES}"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.loop.create_connection(
                    lambda: client, "127.0.0.1", self._port, local_addr=(source, 0)
                )
                await client.connected
        except OSError:  # a time-out is one
            self.end(client, "refused")

    def state(self) -> dict[str, float]:
        """``unasked`` have answered no ping yet."""
        pings = [client.pings for client in self._here]
        return {
            "connected": len(pings),
            "pings": sum(pings),
            "unasked": pings.count(0),
            "cpu": time.process_time(),
            **self._ended,
        }

    async def drop(self) -> dict[str, float]:
        here, self._here = self._here, set()
        for client in here:
            if client.transport is not None:
                client.transport.abort()
        await asyncio.sleep(0)
        return {"dropped": len(here)}


def raise_file_limit() -> None:
    """Each connection is an open file; who is started from here inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def main(port: int, *, offers_compression: bool) -> None:
    raise_file_limit()
    clients = Clients(port, offers_compression=offers_compression)
    settle_garbage_collector()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, *arguments = line.split()
        if command == "connect":
            answer = await clients.connect(*map(int, arguments))
        else:
            answer = await clients.drop() if command == "drop" else clients.state()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), offers_compression="--plain" not in sys.argv))
