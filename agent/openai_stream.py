"""A provider's stream, decoded quickly where it is plain, and by the SDK where it is not.

Nearly all that a provider sends is one text delta after another, each an event of one line. The SDK
makes a model of each, with every field, and that is most of what a token costs. Here such an event
becomes its text. Whatever is more than that is left to the SDK:

- an event of more than text, usage and how it finished (tool calls, say): the SDK makes its model,
  as it would have;
- a stream that is no series of such lines (other fields, data in several lines, an error, the end,
  JSON that only Python's own decoder takes): the SDK goes on with it from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress
from enum import Enum
from typing import Any, Literal, cast

import openai
import orjson
from openai import AsyncOpenAI, AsyncStream
from openai._streaming import ServerSentEvent, SSEBytesDecoder
from openai.types.chat import ChatCompletionChunk

from agent.alike import Alike
from agent.answering import Pause
from agent.unread import left_unread

DATA, COMMENT, END = b"data:", b":", b"\n\n"

DONE = (b"data: [DONE]", b"data:[DONE]")

# As long as the SDK gives it.
DRAIN_SECONDS = 0.1

ODD = b"odd"
"""Stands for what has no end yet, and is to be left to the SDK as it is."""


class Sign(Enum):
    DONE = "done"


Piece = str | dict[str, Any]
"""A text delta and nothing else; or an event as the SDK would have it."""


class LeanStream(AsyncStream[ChatCompletionChunk]):
    """What the SDK makes of a response where it is named as ``stream_cls``. Read it by ``pieces``,
    once; iterated it is what it is to the SDK."""

    _decoder: _Blocks

    def __init__(self, *, client: AsyncOpenAI, **more: Any) -> None:
        super().__init__(client=client, **more)
        self._decoder = _Blocks(self._decoder)
        self._alike = Alike(_text_of)
        # Lists of blocks; where they were left to the SDK, its events.
        self._body = cast("AsyncGenerator[Any, None]", super()._iter_events())

    def _iter_events(self) -> AsyncIterator[ServerSentEvent]:
        # Whoever reads on reads on from here: the response has but one body.
        return self._body

    async def pieces(self, pause: Pause | None = None) -> AsyncGenerator[list[Piece], None]:
        """What has come, as it comes, in the order of its events. Raises what the SDK raises.

        With a ``pause`` (``AnswerRequest``), which comes after each text, texts that follow one
        another are joined. Meanwhile the response is left unread.

        Closes the response at its end, and where it is given up.
        """
        try:
            async for blocks in self._body:
                pieces: list[Piece] = []
                is_odd = False
                for place, block in enumerate(blocks):
                    if not block or (block.startswith(COMMENT) and b"\n" not in block):
                        continue
                    try:
                        piece = self._piece(block)
                    except Exception:
                        if pieces:
                            yield pieces  # these came before it
                        raise
                    if piece is Sign.DONE:
                        if pieces:
                            yield pieces
                        await self._drain()
                        return
                    if piece is None:
                        self._decoder.leave([] if block is ODD else blocks[place:])
                        is_odd = True
                        break
                    last = pieces[-1] if pieces and pause is not None else None
                    if isinstance(last, str) and isinstance(piece, str):
                        pieces[-1] = last + piece
                    else:
                        pieces.append(piece)
                if pieces:
                    yield pieces
                    if pause is not None and isinstance(pieces[-1], str):
                        with left_unread(self.response):
                            await pause()
                if is_odd:
                    async for chunk in self:
                        yield [chunk.model_dump()]
                    return
        finally:
            await self._body.aclose()
            await self.response.aclose()
            # They hold on to this object, as it does to them: that is left to the garbage
            # collector, which stands still for all it has to look through.
            self._body = self._iterator = _nothing()

    async def _drain(self) -> None:
        """Read what is left after the end, so that the connection can be used again."""
        with suppress(openai.APIError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in self._body:
                    pass

    def _piece(self, block: bytes) -> Piece | Literal[Sign.DONE] | None:
        """None for what is to be left to the SDK."""
        if (alike := self._alike.text(block)) is not None:
            return alike
        if not block.startswith(DATA) or b"\n" in block:
            return None
        try:
            event = orjson.loads(block[len(DATA) :])
        except orjson.JSONDecodeError:
            return Sign.DONE if block.startswith(DONE) else None
        if not isinstance(event, dict) or event.get("error"):
            return None
        if not _is_simple(event):
            chunk = self._client._process_response_data(
                data=event, cast_to=ChatCompletionChunk, response=self.response
            )
            return chunk.model_dump()
        text = _plain_text(event)
        if text is None:
            return event
        self._alike.learn(block, text)
        return text


class _Blocks:
    """The decoder that is given to the SDK's stream: of each read the events' blocks, undecoded, or
    from where they were left to it what the SDK's own decoder makes of the rest."""

    def __init__(self, sdks: Any) -> None:
        self._sdks: SSEBytesDecoder = sdks
        self._tail = b""
        self._left: bytes | None = None

    def leave(self, blocks: list[bytes]) -> None:
        """The SDK is to go on, with these first."""
        self._left = b"".join(block + END for block in blocks) + self._tail

    async def aiter_bytes(self, reads: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for read in reads:
            yield self._blocks(read)
            if self._left is not None:
                break
        else:
            if self._tail:
                yield [ODD]
        if self._left is not None:
            async for event in self._sdks.aiter_bytes(_after(self._left, reads)):
                yield event

    def iter_bytes(self, reads: Iterator[bytes]) -> Iterator[Any]:
        """For the SDK's type; a stream that is asynchronous does not ask for it."""
        return self._sdks.iter_bytes(reads)

    def _blocks(self, read: bytes) -> list[bytes]:
        data = self._tail + read
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            if b"\r" in data[:-1]:  # a line's end by itself; the last may still become one of two
                self._tail = data
                return [ODD]
        *blocks, self._tail = data.split(END)
        return blocks


async def _nothing() -> AsyncGenerator[Any, None]:
    """Of a stream that has come to its end."""
    never: list[Any]
    for never in ():
        yield never


async def _after(first: bytes, reads: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for read in reads:
        yield read


SIMPLE = {"content": str, "role": str, "refusal": str}
"""What a delta may have besides, without meaning anything that must be looked into."""


def _is_simple(event: dict[str, Any]) -> bool:
    """Whether the SDK's model of it would say the same as it does."""
    try:
        choices, usage = event["choices"], event.get("usage")
        if "type" in event or not (usage is None or _is_usual(usage)):
            return False
        if choices == []:
            return True
        [choice] = choices
        delta, reason = choice["delta"], choice.get("finish_reason")
        return (
            (reason is None or type(reason) is str)
            and not choice.get("logprobs")
            and all(value is None or type(value) is SIMPLE[name] for name, value in delta.items())
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def _is_usual(usage: Any) -> bool:
    """Numbers, and dictionaries of numbers."""
    return type(usage) is dict and all(
        value is None or type(value) is int or (type(value) is dict and _is_usual(value))
        for value in usage.values()
    )


def _text_of(block: bytes) -> str | None:
    """Of a block that is one event in one line."""
    event = orjson.loads(block[len(DATA) :])
    return _plain_text(event) if _is_simple(event) else None


def _plain_text(event: dict[str, Any]) -> str | None:
    """The text of a simple event that is nothing but that, and is of an assistant."""
    if event.get("usage") or not event["choices"]:
        return None
    choice = event["choices"][0]
    delta = choice["delta"]
    if choice.get("finish_reason") or delta.get("role") not in (None, "assistant"):
        return None
    text: str | None = delta.get("content")
    return text
