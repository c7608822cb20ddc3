"""Our ChatOpenAI gives what LangChain's gives, chunk for chunk and error for error."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI

from agent.answering import Pause
from agent.models import choose_model
from agent.openai_chat import LeanChatOpenAI
from agent.openai_stream import LeanStream
from tests.agent.streams import BEGIN, DONE, STOP, STREAMS, event, sent, text
from tests.support.provider import Provider, Script
from tests.support.wait import wait_until

Outcome = tuple[list[Any], tuple[str, str] | None]

PIECES = (None, 1, 7, 1000)
"""The stream in as many bytes at a time; None: all at once."""


class Heard(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[tuple[str, Any]] = []

    async def on_llm_new_token(self, token: str, *, chunk: Any = None, **_: Any) -> None:
        self.tokens.append((token, as_told(chunk.message)))


class Both:
    """The two models, asked the same."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._model = choose_model(
            api_key="k", base_url=provider.base_url, model_name="m", idle_timeout=5
        )
        assert isinstance(self._model.chat, LeanChatOpenAI)
        self.lean = self._model.chat
        # The SDK's own default client is shared in the process.
        self._client = openai.DefaultAsyncHttpxClient()
        self.plain = ChatOpenAI(
            http_async_client=self._client,
            model="m",
            api_key=self.lean.openai_api_key,
            base_url=provider.base_url,
            stream_usage=True,
            max_retries=0,
            stream_chunk_timeout=None,
            use_responses_api=False,
        )

    async def close(self) -> None:
        await self._model.close()
        await self._client.aclose()

    async def agree(self, body: bytes, piece_bytes: int | None, **asked: Any) -> Outcome:
        self.provider.respond = lambda _: Script(raw=body, piece_bytes=piece_bytes)
        theirs = await outcome(self.plain, **asked)
        ours = await outcome(self.lean, **asked)
        assert ours == theirs
        return ours


@pytest.fixture
async def both(provider: Provider) -> AsyncIterator[Both]:
    both = Both(provider)
    yield both
    await both.close()


def as_told(message: Any) -> dict[str, Any]:
    fields: dict[str, Any] = message.model_dump()
    fields["set"] = sorted(message.model_fields_set)
    if str(fields["id"]).startswith("lc_run-"):
        fields["id"] = "lc_run-"
    return fields


async def outcome(model: ChatOpenAI, **asked: Any) -> Outcome:
    chunks, error = [], None
    try:
        async for chunk in model.astream([("user", "hello")], **asked):
            chunks.append(as_told(chunk))
    except Exception as raised:  # noqa: BLE001  # whichever it is, it must be the same
        error = (type(raised).__name__, str(raised))
    return chunks, error


@pytest.mark.parametrize("name", STREAMS)
async def test_they_give_the_same(both: Both, name: str) -> None:
    for piece_bytes in PIECES:
        await both.agree(STREAMS[name], piece_bytes)


async def deltas(model: LeanChatOpenAI, pause: Pause | None) -> Outcome:
    """What comes of them when texts that follow one another are joined."""
    told: list[Any] = []
    error = None
    try:
        async with aclosing(model.astream_deltas([("user", "hello")], pause=pause)) as given:
            async for delta in given:
                given_as = {"content": delta} if isinstance(delta, str) else as_told(delta)
                if told and {**given_as, "content": ""} == {**told[-1], "content": ""}:
                    told[-1]["content"] += given_as["content"]
                else:
                    told.append(given_as)
    except Exception as raised:  # noqa: BLE001  # whichever it is, it must be the same
        error = (type(raised).__name__, str(raised))
    return told, error


@pytest.mark.parametrize("name", STREAMS)
async def test_who_pauses_misses_nothing(both: Both, name: str) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.002)

    for piece_bytes in PIECES:
        both.provider.respond = lambda _, size=piece_bytes: Script(
            raw=STREAMS[name], piece_bytes=size
        )
        assert await deltas(both.lean, pause) == await deltas(both.lean, None)


async def test_what_comes_in_a_pause_is_one_delta(both: Both) -> None:
    words = [f"word{number} " for number in range(40)]
    body = BEGIN + text(*words) + STOP + DONE
    both.provider.respond = lambda _: Script(raw=body, piece_bytes=300)
    given: list[str] = []
    pauses: list[int] = []

    async def pause() -> None:
        pauses.append(len(given))
        await asyncio.sleep(0.3)

    async with aclosing(both.lean.astream_deltas([("user", "hello")], pause=pause)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, str):
                given.append(chunk)
    assert "".join(given) == "".join(words)
    assert len(given) < 5
    # One after each text that nothing else has come with; none before the first.
    assert pauses == list(range(1, len(given)))


@pytest.mark.parametrize("name", STREAMS)
async def test_who_listens_hears_the_same(both: Both, name: str) -> None:
    both.provider.respond = lambda _: Script(raw=STREAMS[name])
    heard = []
    for model in (both.lean, both.plain):
        handler = Heard()
        told = await outcome(model, config={"callbacks": [handler]})
        heard.append((told, handler.tokens))
    assert heard[0] == heard[1]


@given(
    st.lists(
        st.one_of(
            st.text(min_size=1, max_size=8).map(lambda word: event({"content": word})),
            st.sampled_from([text("a"), b": x\n\n", b"\n", b"id: 1\n", b"data: {}\n\n", DONE]),
            st.sampled_from([event({}, "stop"), event({"content": "b"}).replace(b"\n", b"\r\n")]),
            st.dictionaries(
                st.sampled_from(["content", "role", "tool_calls", "refusal", "id"]),
                st.sampled_from([None, "", "x", [], 1, {}]),
            ).map(event),
            st.recursive(
                st.none() | st.integers() | st.text(max_size=4),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["choices", "usage", "error", "delta", "type"]), inner
                    )
                ),
                max_leaves=6,
            ).map(sent),
        ),
        max_size=12,
    ).map(b"".join),
    st.integers(1, 400),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_they_give_the_same_of_anything(both: Both, body: bytes, piece_bytes: int) -> None:
    await both.agree(body, piece_bytes)


async def test_chunks_share_nothing_that_can_be_changed(both: Both) -> None:
    both.provider.respond = lambda _: Script(raw=STREAMS["text"])
    chunks = [chunk async for chunk in both.lean.astream([("user", "hello")])]
    before = as_told(chunks[2])
    chunks[1].response_metadata["mine"] = 1
    chunks[1].tool_call_chunks.append({"name": "x"})  # type: ignore[typeddict-item]
    chunks[1].additional_kwargs["mine"] = 1
    assert as_told(chunks[2]) == before
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert isinstance(whole, AIMessageChunk)
    assert whole.content == "Hello there."


async def test_they_ask_the_same(both: Both) -> None:
    """With all that may be asked, and the same is refused."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    for asked in (
        {},
        {"stop": ["x"]},
        {"tools": tools, "tool_choice": "auto", "temperature": 0.5},
        {"stream_usage": False},
        {"extra_headers": {"X-One": "1"}},
        {"extra_body": {"top_k": 3}},
        {"timeout": 3.0},
    ):
        both.provider.requests.clear()
        await both.agree(STREAMS["text"], None, **asked)
        theirs, ours = both.provider.requests
        assert ours.body == theirs.body
        names = {"Authorization", "X-One", "Content-Type", "Accept"}
        assert {k: v for k, v in ours.headers.items() if k in names} == {
            k: v for k, v in theirs.headers.items() if k in names
        }


CALL = {"name": "f", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
HISTORY: list[BaseMessage] = [
    SystemMessage("be brief"),
    HumanMessage("one"),
    AIMessage("two"),
    HumanMessage("three", name="ann"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("four", tool_call_id="c1"),
    AIMessage("five", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    HumanMessage([{"type": "text", "text": "six"}]),
    AIMessage([{"type": "text", "text": "seven"}]),
    AIMessageChunk("eight"),
    ChatMessage("nine", role="critic"),
    AIMessage("ten", name="bob"),
    HumanMessage(""),
]


@pytest.mark.parametrize("model_name", ["m", "o3-mini"])
def test_they_ask_the_same_of_any_history(both: Both, model_name: str) -> None:
    for model in (both.lean, both.plain):
        model.model_name = model_name
    for messages in (HISTORY, HISTORY[:3], HISTORY[3:5], []):
        ours = both.lean._get_request_payload(messages, stop=["x"], max_tokens=5)
        assert ours == both.plain._get_request_payload(messages, stop=["x"], max_tokens=5)
        asked = {"reasoning": {"effort": "low"}}
        ours = both.lean._get_request_payload(messages, **asked)
        assert ours == both.plain._get_request_payload(messages, **asked)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 429, 500, 503])
async def test_they_are_refused_alike(both: Both, status: int) -> None:
    for message in ("no", "context_length_exceeded", "it exceeds the context window"):
        both.provider.respond = lambda _, message=message: Script(  # type: ignore[misc]
            status=status, error_message=message, error_code="some", retry_after="7"
        )
        theirs, ours = await outcome(both.plain), await outcome(both.lean)
        assert ours == theirs
        assert ours[1] is not None


async def test_a_connection_that_breaks_off_is_missed(both: Both) -> None:
    """Its error is another: that of aiohttp, as the SDK words it."""
    both.provider.respond = lambda _: Script(["a", "b", "c"], cut_after=2)
    theirs, ours = await outcome(both.plain), await outcome(both.lean)
    assert ours[0] == theirs[0]
    assert ours[1] is not None
    assert theirs[1] is not None


@pytest.mark.parametrize("changing", [0, 40], ids=["alike", "with something else each time"])
async def test_they_give_the_same_of_a_long_stream(both: Both, changing: int) -> None:
    words = [
        "",
        "Sure",
        ",",
        " it",
        " is",
        ":",
        "\n",
        ",",
        ' "',
        "so",
        '"',
        ",",
        "ça",
        ".",
        "",
        ",",
    ]
    events = [
        event({"content": word}, **({"obfuscation": "x" * (place % changing)} if changing else {}))
        for place, word in enumerate(words * 5)
    ]
    text, failure = await both.agree(BEGIN + b"".join(events) + STOP + DONE, None)
    assert failure is None
    assert len(text) > len(words)


async def asked_by(both: Both) -> Any:
    """The other end of the connection that a question came on."""
    assert [chunk async for chunk in both.lean.astream_deltas([("user", "hello")])]
    return both.provider.requests[-1].peer


async def test_a_connection_is_used_again(both: Both) -> None:
    both.provider.respond = lambda _: Script(raw=STREAMS["text"])
    assert await asked_by(both) == await asked_by(both)


async def test_what_does_not_end_after_its_end_is_not_waited_for(both: Both) -> None:
    gate = asyncio.Event()
    both.provider.respond = lambda _: Script(raw=STREAMS["text"], gate=gate)
    async with asyncio.timeout(3):
        await asked_by(both)
    gate.set()


async def test_nothing_of_an_answer_is_left_to_the_garbage_collector(both: Both) -> None:
    both.provider.respond = lambda _: Script(raw=STREAMS["text"])
    await asked_by(both)
    gc.collect()
    gc.disable()
    try:
        await asked_by(both)
        left = [each for each in gc.get_objects() if isinstance(each, LeanStream)]
    finally:
        gc.enable()
    assert left == []


async def test_who_goes_ends_the_providers_stream(both: Both) -> None:
    both.provider.respond = lambda _: Script(["a"] * 5, silent_after=3)
    stream = both.lean.astream([("user", "hello")])
    async with aclosing(stream) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            if chunk.content == "a":
                break
    await wait_until(lambda: both.provider.closed_by_client == 1, "it is left")


async def test_what_is_unusual_is_langchains(both: Both) -> None:
    """Structured output goes another way in it, and so does it here."""
    both.provider.respond = lambda _: Script(raw=STREAMS["text"])
    fmt = {"type": "json_object"}
    ours = [chunk async for chunk in both.lean.astream([("user", "x")], response_format=fmt)]
    theirs = [chunk async for chunk in both.plain.astream([("user", "x")], response_format=fmt)]
    assert [as_told(each) for each in ours] == [as_told(each) for each in theirs]
