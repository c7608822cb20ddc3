"""The hot paths that ``guards.py`` looks after: a token's way, and what opening and asking read.

Each is work that can be repeated, and does the same each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import httpx2
import openai
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from engineio.async_socket import AsyncSocket
from openai.types.chat import ChatCompletionChunk

from agent.openai_stream import LeanStream
from agent.prompt import build_prompt
from agent.tokens import TokenCounter
from benchmarks.provider import Chunks
from benchmarks.samples import ended_turn, new_turn
from memory import entries
from memory.records import Message, Position, Transcript, messages_of
from server.edge.transport import Transport
from server.edge.websocket import PlainWebSocket
from server.feed import events, shared
from server.feed.following import shown
from server.feed.line import MOST_TOGETHER, Line, Write
from server.feed.log import Checkpoint, LiveTurn, Log
from server.turns.frames import Frames

Work = Callable[[], None]

CONVERSATION = "conversation-1"
TURN = new_turn(CONVERSATION)
TEXT = "some words of an answer, as they are said".ljust(40)
DELTAS = [events.delta(TURN, index, TEXT) for index in range(MOST_TOGETHER)]
PAYLOADS: list[dict[str, Any]] = [
    {"conversation_id": CONVERSATION, "cursor": f"2251799813685249-{number}", **delta.fields}
    for number, delta in enumerate(DELTAS)
]
MESSAGES = [message for n in range(1, 26) for message in messages_of(ended_turn(CONVERSATION, n))]
QUESTION = messages_of(ended_turn(CONVERSATION, 26))[0]


@asynccontextmanager
async def guarded_paths() -> AsyncIterator[dict[str, Work]]:
    """By their names. Each of the first ones is a batch of 64 deltas."""
    deliver = await _deliver_to_a_queue()
    write = await _write_frames()
    yield {
        "log: take deltas": _log_takes,
        "log: hear deltas": _log_hears,
        "frames: join pieces": _frames,
        "line: deltas on their way": _line,
        "event: encode deltas": _encode_events,
        "shared log: read deltas": _read_published,
        "transport: queue deltas": deliver,
        "websocket: write deltas": write,
        "memory: encode 50 messages": _encode_messages,
        "memory: decode 50 messages": _decode_messages,
        "opening: show 50 messages": _show,
        "prompt: of 50 messages": _prompt,
        "provider: decode deltas": _decode_stream(),
    }


def _decode_stream() -> Work:
    """All that comes with one read."""
    client = openai.AsyncOpenAI(api_key="none")
    stream = LeanStream(cast_to=ChatCompletionChunk, response=httpx2.Response(200), client=client)
    chunks = Chunks(tells_usage=True)
    before = chunks.before.partition(b"\r\n")[2]  # its length, for HTTP
    read = (before + TEXT.encode() + chunks.after.removesuffix(b"\r\n")) * len(DELTAS)

    def decode() -> None:
        texts = [stream._piece(block) for block in stream._decoder._blocks(read)]
        assert texts == [TEXT] * len(DELTAS)

    return decode


def _begun() -> Log:
    live = LiveTurn(TURN.id, TURN.n, TURN.place, "running", attempt=TURN.attempt)
    return Log(CONVERSATION, Checkpoint(TURN.n, Position(turn=1), [live]), epoch="1")


def _log_takes() -> None:
    log = _begun()
    for delta in DELTAS:
        log.append(delta)
    assert log.number == len(DELTAS)


def _log_hears() -> None:
    log = _begun()
    for number, delta in enumerate(DELTAS, start=1):
        log.hear(number, delta.name, delta.rule, delta.fields)


def _frames() -> None:
    sent: list[tuple[int, str]] = []
    frames = Frames(lambda index, text: sent.append((index, text)))
    for _ in DELTAS:
        frames.add(TEXT)
        frames.add(TEXT)
        frames.flush()
    assert len(sent) >= len(DELTAS)


def _line() -> None:
    line, log = Line(), _begun()
    for delta in DELTAS:
        line.add(Write(delta))
    batch = line.send()
    line.answered(log.epoch, len(batch), ["take"] * len(batch))
    log.number = len(batch)
    line.heard(log)
    assert not line


def _encode_events() -> None:
    for delta in DELTAS:
        delta.rule_text()
        delta.body(CONVERSATION)


PUBLISHED = [
    b"\n".join(
        (
            b"2251799813685249-%d" % number,
            delta.rule_text(),
            b"turn:delta",
            delta.body(CONVERSATION),
        )
    )
    for number, delta in enumerate(DELTAS)
]


def _read_published() -> None:
    for message in PUBLISHED:
        heard = shared._published(message)
        assert heard is not None
        heard.fields()


async def _deliver_to_a_queue() -> Work:
    """To one connection, whose queue is emptied again."""
    transport = Transport(cors_origins=())
    transport.eio.sockets["engine"] = AsyncSocket(transport.eio, "engine")
    session = transport.eio.adopt("engine")
    sid = await transport.manager.pre_connect("engine", "/")

    def deliver() -> None:
        for payload in PAYLOADS:
            transport.deliver("turn:delta", payload, [sid])
        assert session.queue.qsize() == len(PAYLOADS)
        session.queue.clear()

    return deliver


async def _write_frames() -> Work:
    """Through the driver's websocket, to nobody."""
    request = make_mocked_request(
        "GET",
        "/",
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "bW5lbW9zaW8tYmVuY2gtMA==",
        },
        protocol=Mock(_paused=False, transport=_Nowhere()),
        transport=_Nowhere(),
    )
    socket = PlainWebSocket(Mock(), Mock())
    socket._sock = web.WebSocketResponse(compress=False)
    await socket._sock.prepare(request)
    texts = [f"42{payload}" for payload in PAYLOADS]

    def write() -> None:
        for text in texts:
            _finish(socket.send(text))

    return write


class _Nowhere(Mock):
    """A transport whose writing costs nothing."""

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Of what never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def _encode_messages() -> None:
    for message in MESSAGES:
        entries.encode_message(message)


ENTRIES = [entries.encode_message(message) for message in MESSAGES]


def _decode_messages() -> None:
    found: list[Message] = entries.decode_messages(ENTRIES)
    assert len(found) == len(MESSAGES)


TRANSCRIPT = Transcript(messages=MESSAGES, position=Position(turn=25, answers=25))
SEEN = Log(CONVERSATION, Checkpoint(25, TRANSCRIPT.position, [])).moment()


def _show() -> None:
    assert len(shown(CONVERSATION, SEEN, TRANSCRIPT)) == len(MESSAGES)


COUNTER = TokenCounter()


def _prompt() -> None:
    prompt, _ = build_prompt(
        TRANSCRIPT,
        QUESTION,
        system_prompt="You are helpful.",
        budget=100_000,
        counter=COUNTER,
    )
    assert len(prompt) == len(MESSAGES) + 2
