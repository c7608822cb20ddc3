"""A model provider for tests: a real HTTP server that speaks OpenAI's chat-completions API.

    provider = Provider()
    await provider.start()
    ... OPENAI_BASE_URL=provider.base_url ...
    provider.respond = lambda body: Script(["Hel", "lo"], cut_after=1)
    await provider.stop()

By default it answers ``echo: <the last user message>``, ``summary of <n> messages`` to the
summariser, ``About <the question>`` to who asks for a title and no facts to who asks for those, so
that a test sees in ``requests`` what the model was given.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agent.wording import (
    FACTS_INSTRUCTIONS,
    GUARD_INSTRUCTIONS,
    SUMMARISER_INSTRUCTIONS,
    TITLE_INSTRUCTIONS,
    fenced,
)

Body = dict[str, Any]


@dataclass
class ToolCall:
    """A call that the model asks for. A text is sent as it is, whatever it is."""

    name: str
    arguments: Body | str = field(default_factory=dict)
    id: str = ""

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass
class Script:
    """How one request is answered."""

    chunks: list[str] = field(default_factory=list)
    """The text, as it is streamed."""
    calls: list[ToolCall] = field(default_factory=list)
    """After the text, each in pieces of its name and its arguments, all of them intertwined."""
    delay: float = 0.0
    """Seconds before each chunk."""
    status: int = 200
    """Anything but 200 is answered as an error at once."""
    retry_after: str | None = None
    error_code: str | None = None
    error_message: str = "scripted"
    cut_after: int | None = None
    """Abort the connection after so many chunks."""
    silent_after: int | None = None
    """Say nothing any more after so many chunks; 0: no first token."""
    error_after: int | None = None
    """After so many chunks, an error inside the stream."""
    gate: asyncio.Event | None = None
    """Holds the stream after ``gate_after`` chunks until the test opens it."""
    gate_after: int = 1
    finish_reason: str | None = "stop"
    """None: the stream ends as if it were complete, but without one."""
    prompt_tokens: int | None = None
    """What the usage reports; None: something plausible."""
    keep_alive: bool = False
    """An SSE comment before each chunk."""
    piece_bytes: int | None = None
    """Write the stream in pieces of so many bytes, wherever that splits it."""
    raw: bytes | None = None
    """The whole body of the stream, instead of all that; ``gate`` holds its end."""


@dataclass
class Request:
    body: Body
    headers: dict[str, str]
    at: float
    """``time.monotonic()``"""
    peer: Any = None
    """The connection's other end."""

    @property
    def messages(self) -> list[Body]:
        return list(self.body["messages"])

    @property
    def texts(self) -> list[str]:
        return [str(message["content"]) for message in self.messages]

    @property
    def outputs(self) -> list[str]:
        """What the model is told that tools gave back."""
        return [
            fenced(message["content"])[0][1]
            for message in self.messages
            if message["role"] == "tool"
        ]

    @property
    def offered(self) -> list[str]:
        """The names of the tools that the model may use."""
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    @property
    def is_summary(self) -> bool:
        return is_summary(self.body)

    @property
    def is_facts(self) -> bool:
        return is_facts(self.body)

    @property
    def is_title(self) -> bool:
        return is_title(self.body)


def is_facts(body: Body) -> bool:
    """Whether it is asked what messages tell of their user."""
    return _is_told(body, FACTS_INSTRUCTIONS)


def is_guard(body: Body) -> bool:
    """Whether it is asked if the user wants what a tool would change."""
    first = body["messages"][0]
    return first["role"] == "system" and first["content"] == GUARD_INSTRUCTIONS


def is_summary(body: Body) -> bool:
    """Whether it is the summariser who asks."""
    return _is_told(body, SUMMARISER_INSTRUCTIONS)


def is_title(body: Body) -> bool:
    """Whether a title is asked for."""
    return _is_told(body, TITLE_INSTRUCTIONS)


def _is_told(body: Body, instructions: str) -> bool:
    first = body["messages"][0]
    return bool(first["role"] == "system" and first["content"].startswith(instructions))


def text_of(message: Body) -> str:
    """Without its images."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def images_of(message: Body) -> list[str]:
    """The URLs of its images."""
    content = message["content"]
    parts = [] if isinstance(content, str) else content
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def echo(body: Body) -> Script:
    last = text_of(body["messages"][-1])
    if is_summary(body):
        said = [text for tag, text in fenced(last) if tag != "notes"]
        return Script([f"summary of {len(said)} messages"])
    if is_title(body):
        return Script([f"About {fenced(last)[0][1]}"])
    if is_facts(body):
        return Script(['{"facts": []}'])
    return Script(re.findall(r"\s*\S+|\s+$", f"echo: {last}"))


class Provider:
    def __init__(self) -> None:
        self.respond: Callable[[Body], Script] = echo
        self.embed: Callable[[str], list[float]] | None = None
        """An embedding model; None: it fails."""
        self.embedded: list[list[str]] = []
        self.embedding_keys: set[str] = set()
        self.requests: list[Request] = []
        self.open_streams = 0
        self.closed_by_client = 0
        """Streams that the client left before their end."""
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._stopping = False

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def chats(self) -> list[Request]:
        """The requests for answers."""
        return [
            each
            for each in self.requests
            if not each.is_summary and not each.is_title and not each.is_facts
        ]

    @property
    def facts(self) -> list[Request]:
        return [request for request in self.requests if request.is_facts]

    @property
    def summaries(self) -> list[Request]:
        return [request for request in self.requests if request.is_summary]

    @property
    def titles(self) -> list[Request]:
        return [request for request in self.requests if request.is_title]

    async def start(self) -> None:
        """On a free port; after ``stop`` on the same one again."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
        # A client's going away must cancel the handler, or it would not be noticed while silent.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._port = runner.addresses[0][1]
        self._runner, self._stopping = runner, False

    async def stop(self) -> None:
        """Also cuts the streams that are open."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        peer = request.transport and request.transport.get_extra_info("peername")
        self.requests.append(Request(body, dict(request.headers), time.monotonic(), peer))
        script = self.respond(body)
        if script.status != 200:
            return _error(script)
        if not body.get("stream"):
            await asyncio.sleep(script.delay)
            return web.json_response(_completion(body, script))
        self.open_streams += 1
        try:
            return await self._stream(request, body, script)
        except (asyncio.CancelledError, ConnectionError):
            self.closed_by_client += not self._stopping
            raise
        finally:
            self.open_streams -= 1

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.embedded.append(body["input"])
        self.embedding_keys.add(request.headers["Authorization"])
        if self.embed is None:
            return _error(Script(status=503))
        data = [
            {"object": "embedding", "index": index, "embedding": self.embed(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response(
            {"object": "list", "model": body["model"], "data": data, "usage": usage}
        )

    async def _stream(self, request: web.Request, body: Body, script: Script) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for data in _events(body, script):
            if data is None:
                assert request.transport is not None
                request.transport.abort()
                return response
            step = script.piece_bytes or len(data)
            for start in range(0, len(data), step):
                await response.write(data[start : start + step])
                if script.piece_bytes:
                    await asyncio.sleep(0)
        await response.write_eof()
        return response


async def _events(body: Body, script: Script) -> AsyncIterator[bytes | None]:
    """The bytes of the stream; None where the connection is to break."""
    if script.raw is not None:
        yield script.raw
        if script.gate is not None:
            await script.gate.wait()
        return
    yield _event(body, {"delta": {"role": "assistant", "content": ""}})
    for index in range(len(script.chunks) + 1):
        if script.gate is not None and index == script.gate_after:
            await script.gate.wait()
        if index == script.cut_after:
            yield None
        if index == script.silent_after:
            await asyncio.Event().wait()
        if index == script.error_after:
            error = {"message": script.error_message, "code": script.error_code}
            yield f"data: {json.dumps({'error': error})}\n\n".encode()
            return
        if index < len(script.chunks):
            if script.keep_alive:
                yield b": keep-alive\n\n"
            await asyncio.sleep(script.delay)
            yield _event(body, {"delta": {"content": script.chunks[index]}})
    for piece in _call_pieces(body, script.calls):
        yield _event(body, {"delta": {"tool_calls": [piece]}})
    if script.finish_reason is not None:
        reason = "tool_calls" if script.calls else script.finish_reason
        yield _event(body, {"delta": {}, "finish_reason": reason})
    if body.get("stream_options", {}).get("include_usage"):
        yield _event(body, None, usage=_usage(body, script))
    yield b"data: [DONE]\n\n"


def _call_pieces(body: Body, calls: list[ToolCall]) -> list[Body]:
    """As OpenAI streams them: the id with the first piece of each, the index with every one."""
    begun, rest = [], []
    for index, call in enumerate(calls):
        call_id = call.id or f"call_{len(body['messages'])}_{index}"
        half = len(call.name) // 2
        shape = {"index": index, "id": call_id, "type": "function"}
        begun.append({**shape, "function": {"name": call.name[:half], "arguments": ""}})
        rest.append((0, {"index": index, "function": {"name": call.name[half:]}}))
        pieces = [call.text[at : at + 5] for at in range(0, len(call.text), 5)]
        for place, text in enumerate(pieces, 1):
            rest.append((place, {"index": index, "function": {"arguments": text}}))
    rest.sort(key=lambda each: each[0])
    return begun + [piece for _, piece in rest]


def _event(body: Body, choice: Body | None, **more: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    event = {
        "id": "chatcmpl-test",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": body.get("model"),
        "choices": choices,
        **more,
    }
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _completion(body: Body, script: Script) -> Body:
    message = {"role": "assistant", "content": "".join(script.chunks)}
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": script.finish_reason}],
        "usage": _usage(body, script),
    }


def _usage(body: Body, script: Script) -> Body:
    given = script.prompt_tokens
    if given is None:
        given = sum(4 + len(str(message["content"])) // 4 for message in body["messages"])
    said = len(script.chunks)
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def _error(script: Script) -> web.Response:
    error = {"message": script.error_message, "type": "error", "code": script.error_code}
    headers = {"Retry-After": script.retry_after} if script.retry_after else {}
    return web.json_response({"error": error}, status=script.status, headers=headers)
