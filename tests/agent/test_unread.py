"""Between an answer's frames its provider's stream stays in the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from openai.types.chat import ChatCompletion

from agent.models import choose_model
from agent.openai_chat import LeanChatOpenAI
from agent.openai_stream import LeanStream
from agent.unread import _transport, left_unread
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until


@pytest.fixture
async def stream(provider: Provider) -> AsyncIterator[LeanStream]:
    model = choose_model(api_key="k", base_url=provider.base_url, model_name="m", idle_timeout=5)
    assert isinstance(model.chat, LeanChatOpenAI)
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    stream = await model.chat.root_async_client.post(
        "/chat/completions", body=body, cast_to=ChatCompletion, stream=True, stream_cls=LeanStream
    )
    yield stream
    await stream.response.aclose()
    await model.close()


async def texts(stream: LeanStream, pause: float) -> list[str]:
    """With a pause after each, as the frames of an answer are."""
    texts: list[str] = []

    async def paused() -> None:
        if texts:
            await asyncio.sleep(pause)

    async for pieces in stream.pieces(paused):
        texts += [piece for piece in pieces if isinstance(piece, str) and piece]
    return texts


class TestUnread:
    @pytest.fixture
    def provider(self, provider: Provider) -> Provider:
        provider.respond = lambda _: Script(["one ", "two ", "three ", "four"], delay=0.05)
        return provider

    async def test_nothing_is_read_meanwhile(self, stream: LeanStream) -> None:
        transport = _transport(stream.response)
        assert transport is not None
        assert transport.is_reading()
        with left_unread(stream.response):
            assert not transport.is_reading()
            with left_unread(stream.response):
                pass
            assert not transport.is_reading()
        assert transport.is_reading()

    async def test_what_came_meanwhile_is_one_piece(self, stream: LeanStream) -> None:
        assert await texts(stream, pause=0.4) == ["one ", "two three four"]

    async def test_what_has_come_is_left_alone(self, stream: LeanStream) -> None:
        transport = _transport(stream.response)
        assert "".join(await texts(stream, pause=0)) == "one two three four"
        with left_unread(stream.response):
            # It may be another answer's by now.
            assert transport.is_closing() or transport.is_reading()

    async def test_a_connection_that_is_lost_meanwhile_is_missed(
        self, provider: Provider, stream: LeanStream
    ) -> None:
        transport = _transport(stream.response)
        with left_unread(stream.response):
            await provider.stop()
        await wait_until(transport.is_closing, "the connection is seen to be lost")
