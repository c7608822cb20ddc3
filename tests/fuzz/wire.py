"""What is done to the server below and beside a websocket: HTTP, polling, and TCP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tests.fuzz import values
from tests.fuzz.attacks import mutated
from tests.fuzz.judging import of_text

POLLING = "/socket.io/?EIO=4&transport=polling"

HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

REQUESTS = (
    *(b"", b"\x00", b"\r\n\r\n", b"GET", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00"),
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nX: "
    + b"x" * 9000
    + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n4",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" * 30,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    HANDSHAKE,
    HANDSHAKE.replace(b"13", b"7"),
    HANDSHAKE.replace(b"AAAA", b"\xff\xff"),
    HANDSHAKE.replace(b"Host", b"Origin: http://evil.example\r\nHost"),
    HANDSHAKE.replace(b"&transport", b"&sid=nobody&transport"),
)


def frame(rng: Random) -> bytes:
    """A websocket frame, mostly a wrong one."""
    first = rng.choice(
        (0x81, 0x82, 0x80, 0x01, 0x00, 0x88, 0x89, 0x8A, 0xF1, 0x83, rng.randrange(256))
    )
    length = rng.choice((0, 1, 2, 5, 125, 126, 127))
    masked = 0x80 if rng.random() < 0.9 else 0
    extended = b""
    if length == 126:
        extended = rng.randrange(2**16).to_bytes(2)
    elif length == 127:
        extended = rng.choice((10, 2_000_000, 2**63, 2**64 - 1)).to_bytes(8)
    body = bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    return bytes([first, masked | length]) + extended + (b"\0\0\0\0" if masked else b"") + body


async def tcp(rng: Random, url: str) -> list[str]:
    """Garbage, in pieces, and any way of leaving."""
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    try:
        with suppress(ConnectionError):
            said = rng.choice(REQUESTS)
            if said is HANDSHAKE or rng.random() < 0.3:
                said = HANDSHAKE + b"".join(frame(rng) for _ in range(rng.randrange(1, 10)))
            if rng.random() < 0.3:
                at = rng.randrange(len(said) + 1)
                said = said[:at] + bytes(rng.randrange(256) for _ in range(8)) + said[at:]
            step = len(said) // rng.choice((1, 1, 3)) + 1
            for start in range(0, len(said), step):
                writer.write(said[start : start + step])
                await writer.drain()
            if rng.random() < 0.5:
                writer.write_eof()
            answer = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.choice((0.05, 0.3))):
                    answer = await reader.read(100_000)
            if answer.startswith(b"HTTP/1.1 5"):
                return [f"{answer[:60]!r} for {said[:100]!r}"]
            wrong = of_text(answer.decode(errors="replace"))
            return [f"{wrong} for {said[:100]!r}"] if wrong else []
    finally:
        if rng.random() < 0.5:
            writer.transport.abort()
        writer.close()
    return []


async def bad_body(body: bytes, cut: bool) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]
    if cut:
        raise ConnectionResetError


def batch(rng: Random) -> bytes:
    parts = []
    for _ in range(rng.choice((1, 1, 2, 17, 100))):
        part = mutated(rng) if rng.random() < 0.5 else '421["conversation:list",{}]'
        parts.append(part if isinstance(part, bytes) else part.encode(errors="replace"))
    return b"\x1e".join(parts)


async def polling(rng: Random, url: str) -> list[str]:
    """A session by polling, with POSTs of all kinds."""
    findings: list[str] = []
    headers = rng.choice(
        (
            {},
            {"Cookie": "io=../x; sid=" + "x" * 500},
            {"Content-Encoding": "gzip"},
            {"X-Forwarded-For": "' OR 1=1, ::1, 999.1.1.1"},
            {"Authorization": "Bearer \xff"},
            {"Origin": "null"},
        )
    )
    timeout = aiohttp.ClientTimeout(total=3)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:

        async def request(method: str, path: str, body: bytes | None = None) -> str:
            data = None
            if body is not None:
                data = bad_body(body, rng.random() < 0.1) if rng.random() < 0.5 else body
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with http.request(method, URL(url + path, encoded=True), data=data) as answer:
                    text = await answer.text(errors="replace")
                    what = f"{method} {path[:80]} {(body or b'')[:80]!r}"
                    if answer.status >= 500:
                        findings.append(f"{answer.status} for {what}")
                    if answer.status != 200 and (wrong := of_text(text)):
                        findings.append(f"{wrong}, for {what}")
                    return text
            return ""

        opened = await request("GET", POLLING + rng.choice(("", "&j=0", "&j=x", "&t=%ff", "&sid=")))
        try:
            sid = json.loads(opened[1:])["sid"]
        except ValueError:
            sid = "x"
        with_sid = f"{POLLING}&sid={sid}"
        for _ in range(rng.randrange(1, 6)):
            fate = rng.randrange(8)
            if fate < 3:
                await request("POST", with_sid, rng.choice((b"40", batch(rng), batch(rng))))
            elif fate == 3:
                await request("POST", with_sid, b"40")
                await asyncio.gather(*(request("GET", with_sid) for _ in range(2)))
            elif fate == 4:
                await request(
                    rng.choice(("PUT", "DELETE", "HEAD", "OPTIONS", "X")), with_sid, b"40"
                )
            elif fate == 5:
                await request(
                    "POST", with_sid, rng.choice((b"4" * 1_000_001, b"\x1e" * 5000, b"d=4"))
                )
            elif fate == 6:
                await request("POST", f"{POLLING}&sid=nobody", batch(rng))
            else:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    upgrade = url + with_sid.replace("polling", "websocket")
                    async with http.ws_connect(upgrade) as socket:
                        for _ in range(rng.randrange(3)):
                            said = rng.choice(("2probe", "5", "x", "40"))
                            await socket.send_str(said)
        # Who just goes is ended when it does not answer a ping, which is too late for a run.
        await request("POST", with_sid, b"1")
    return findings


PATHS = (
    *("/", "/healthz", "/readyz", "/metrics", "/chat.js", "/nowhere", "//", "/..%2f..%2fmain.py"),
    *("/%2e%2e/.env", "/chat.js/../../.env", "/socket.io", "/socket.io/x", "/socket.io/?EIO=3"),
    *("/socket.io/?transport=x&EIO=4", "/socket.io/?EIO=4&transport=websocket", "/?" + "a" * 5000),
    *("/socket.io/?EIO=4&transport=polling&j=1", "/socket.io/?EIO=4&EIO=4", "/.git/config"),
)


async def http(rng: Random, url: str) -> list[str]:
    """Other paths, other methods."""
    findings = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for _ in range(rng.randrange(1, 6)):
            method = rng.choice(("GET", "GET", "GET", "POST", "HEAD", "PUT", "TRACE", "OPTIONS"))
            path = rng.choice(PATHS)
            data = values.text_of(values.value(rng)).encode() if method in ("POST", "PUT") else None
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                target = URL(url + path, encoded=True)
                async with session.request(method, target, data=data) as answer:
                    text = await answer.text(errors="replace")
                    if answer.status >= 500:
                        findings.append(f"{answer.status} for {method} {path[:60]}")
                    if answer.status >= 400 and (wrong := of_text(text)):
                        findings.append(f"{wrong}, for {method} {path[:60]}")
    return findings
