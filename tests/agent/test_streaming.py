"""Answers over real HTTP, and every way a provider can fail."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from agent.chat import ChatAgent
from agent.errors import (
    AnswerFailed,
    ProviderBusy,
    ProviderCut,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
)
from memory.errors import Unavailable
from tests.agent.conftest import API_KEY, MakeAgent
from tests.agent.conversation import Conversation, collect_said, said, said_before_failing
from tests.support.ports import free_port
from tests.support.provider import Body, Provider, Script, echo
from tests.support.wait import wait_until


def in_turn(*scripts: Script) -> Any:
    """Answers the first request by the first script …, and echoes afterwards."""
    left = list(scripts)
    return lambda body: left.pop(0) if left else echo(body)


async def test_an_answer_is_streamed_in_chunks_with_the_usage_at_the_end(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    chunks = await collect_said(agent, conversation.ask("one two three"))
    assert [chunk.text for chunk in chunks] == ["echo:", " one", " two", " three", ""]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1].usage is not None
    assert chunks[-1].usage["output_tokens"] == 4
    assert json.dumps(chunks[-1].usage)


async def test_the_model_gets_system_prompt_history_and_question(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    await conversation.turn(agent, "first")
    await conversation.turn(agent, "second")
    sent = provider.requests[-1]
    assert [(m["role"], m["content"]) for m in sent.messages] == [
        ("system", "You are helpful."),
        ("user", "first"),
        ("assistant", "echo: first"),
        ("user", "second"),
    ]
    assert sent.body["model"] == "test-model"
    assert sent.body["stream_options"] == {"include_usage": True}
    assert sent.headers["Authorization"] == f"Bearer {API_KEY}"


async def test_the_first_chunk_comes_before_the_answer_is_complete(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["early", " late"], gate=gate)
    stream = said(agent, conversation.ask("hi"))
    assert (await anext(stream)).text == "early"
    gate.set()
    assert "".join([chunk.text async for chunk in stream]) == " late"


async def test_odd_bytes_and_keep_alive_comments_change_nothing(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    text = ["Grüße ", "👩‍👩‍👧 ", "שלום ", "data: x\n\n", "\x00"]
    provider.respond = lambda body: Script(text, keep_alive=True, piece_bytes=3)
    chunks = await collect_said(agent, conversation.ask("hi"))
    assert [chunk.text for chunk in chunks if chunk.text] == text


@pytest.mark.parametrize(
    "text", ["🤖", "שלום", "a\x00b", "x" * 100_000], ids=["emoji", "rtl", "nul", "100 kB"]
)
async def test_a_question_reaches_the_model_as_it_is(
    agent: ChatAgent, provider: Provider, conversation: Conversation, text: str
) -> None:
    provider.respond = lambda body: Script(["ok"])
    await collect_said(agent, conversation.ask(text))
    assert provider.requests[-1].texts[-1] == text


async def test_lone_surrogates_are_sent_as_question_marks(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    await collect_said(agent, conversation.ask("a\ud800b"))
    assert provider.requests[-1].texts[-1] == "a?b"


@pytest.mark.parametrize(
    "failure",
    [
        Script(status=500),
        Script(status=503),
        Script(status=408),
        Script(status=429),
        Script(cut_after=0),
        Script(error_after=0),
        Script(raw=b""),
        Script(raw=b"data: {broken\n\n"),
        Script(raw=b"<html>not a provider</html>"),
    ],
    ids=["500", "503", "408", "429", "cut", "error", "empty", "broken", "html"],
)
async def test_a_failure_before_the_first_token_is_retried(
    agent: ChatAgent, provider: Provider, conversation: Conversation, failure: Script
) -> None:
    provider.respond = in_turn(failure)
    chunks = await collect_said(agent, conversation.ask("hello"))
    assert "".join(chunk.text for chunk in chunks) == "echo: hello"
    assert len(provider.requests) == 2


async def test_tries_come_at_growing_distances_and_end_with_their_budget(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(status=500)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await collect_said(make_agent(retry_within=2.5), conversation.ask("hello"))
    assert time.monotonic() - began < 4.0
    times = [request.at for request in provider.requests]
    assert 3 <= len(times) <= 5
    assert times[1] - times[0] >= 0.25
    assert times[2] - times[1] >= 0.5


async def test_retry_after_is_waited_for(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = in_turn(Script(status=429, retry_after="1"))
    await collect_said(agent, conversation.ask("hello"))
    assert provider.requests[1].at - provider.requests[0].at >= 1.0


async def test_a_retry_after_beyond_the_budget_is_told_at_once(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(status=429, retry_after="3600")
    began = time.monotonic()
    with pytest.raises(ProviderBusy) as failed:
        await collect_said(agent, conversation.ask("hello"))
    assert failed.value.retry_after == 3600
    assert failed.value.code == "rate_limited"
    assert len(provider.requests) == 1
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    "failure",
    [
        Script(status=400),
        Script(status=401, error_message=f"Incorrect API key provided: {API_KEY}"),
        Script(status=403),
        Script(status=404, error_code="model_not_found"),
        Script(status=422),
        Script(status=400, error_code="context_length_exceeded"),
        Script(status=429, error_code="insufficient_quota"),
    ],
    ids=["400", "401", "403", "404", "422", "too long", "out of credit"],
)
async def test_a_refused_request_is_not_retried(
    agent: ChatAgent,
    provider: Provider,
    conversation: Conversation,
    failure: Script,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.respond = lambda body: failure
    with pytest.raises(ProviderRejected) as failed:
        await collect_said(agent, conversation.ask("hello"))
    assert len(provider.requests) == 1
    assert not failed.value.retryable
    assert "scripted" not in str(failed.value)
    assert API_KEY not in str(failed.value)
    assert all(API_KEY not in str(record.__dict__) for record in caplog.records)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Script(["Hel", "lo"], cut_after=2), ProviderCut),
        (Script(["Hel", "lo"], finish_reason=None), ProviderCut),
        (Script(["Hel", "lo"], error_after=2), ProviderCut),
        (Script(["Hel", "lo"], error_after=2, error_code="rate_limit_exceeded"), ProviderBusy),
        (Script(["Hel", "lo"], silent_after=2), ProviderSilent),
    ],
    ids=["cut", "no finish_reason", "error in the stream", "rate limit", "silence"],
)
async def test_a_failure_after_the_first_token_keeps_what_was_said_and_is_not_retried(
    make_agent: MakeAgent,
    provider: Provider,
    conversation: Conversation,
    failure: Script,
    expected: type[AnswerFailed],
) -> None:
    provider.respond = lambda body: failure
    agent = make_agent(idle_timeout=1.0)
    text, error = await said_before_failing(agent, conversation.ask("hello"))
    assert (text, type(error)) == ("Hello", expected)
    assert len(provider.requests) == 1


async def test_no_first_token_ends_at_the_idle_time_out(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(["late"], silent_after=0)
    agent = make_agent(idle_timeout=0.3, retry_within=0.2)
    began = time.monotonic()
    with pytest.raises(ProviderSilent):
        await collect_said(agent, conversation.ask("hello"))
    assert 0.3 <= time.monotonic() - began < 1.5
    await wait_until(lambda: provider.closed_by_client == 1, "the silent stream is closed")


async def test_a_slow_but_steady_stream_is_not_idle(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(["x"] * 8, delay=0.15)
    agent = make_agent(idle_timeout=0.8)
    chunks = await collect_said(agent, conversation.ask("hello"))
    assert "".join(chunk.text for chunk in chunks) == "x" * 8


async def test_zero_switches_context_limit_and_idle_time_out_off(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    agent = make_agent(context_token_budget=0, idle_timeout=0)
    conversation.exchange("x" * 100_000, "y" * 100_000)
    provider.respond = lambda body: Script(["slow"], delay=0.2)
    chunks = await collect_said(agent, conversation.ask("hello"))
    assert chunks[0].text == "slow"
    assert len(provider.requests[0].texts[1]) == 100_000


async def test_a_slow_reader_is_not_taken_for_a_silent_provider(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    texts = []
    async for chunk in make_agent(idle_timeout=0.3).answer(conversation.ask("one two")):
        texts.append(chunk.text)
        await asyncio.sleep(0.4)  # the reader's own slowness is what is tested
    assert "".join(texts) == "echo: one two"


async def test_a_provider_that_cant_be_reached_is_unavailable(
    make_agent: MakeAgent, conversation: Conversation
) -> None:
    agent = make_agent(base_url=f"http://user:hunter2@127.0.0.1:{free_port()}/v1", retry_within=0.4)
    with pytest.raises(ProviderUnavailable) as failed:
        await collect_said(agent, conversation.ask("hello"))
    assert "hunter2" not in str(failed.value)
    assert failed.value.retryable


async def test_a_provider_that_comes_back_in_time_answers(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    await provider.stop()
    answering = asyncio.create_task(collect_said(agent, conversation.ask("hello")))
    await asyncio.sleep(0.2)  # the outage
    await provider.start()
    chunks = await answering
    assert "".join(chunk.text for chunk in chunks) == "echo: hello"


async def test_closing_the_answer_closes_the_providers_stream_at_once(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(["one", " two"], silent_after=1)
    stream = said(agent, conversation.ask("hello"))
    assert (await anext(stream)).text == "one"
    assert provider.open_streams == 1
    await stream.aclose()
    await wait_until(lambda: provider.closed_by_client == 1, "the stream is closed", timeout=1.0)
    assert provider.open_streams == 0


@pytest.mark.parametrize("told", [0, 1], ids=["before the first token", "between two tokens"])
async def test_cancelling_the_answer_closes_the_providers_stream_at_once(
    agent: ChatAgent, provider: Provider, conversation: Conversation, told: int
) -> None:
    provider.respond = lambda body: Script(["one", " two"], silent_after=told)
    texts: list[str] = []

    async def answer() -> None:
        async for chunk in said(agent, conversation.ask("hello")):
            texts.append(chunk.text)

    answering = asyncio.create_task(answer())
    await wait_until(lambda: provider.open_streams == 1 and len(texts) == told, "it streams")
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    await wait_until(lambda: provider.closed_by_client == 1, "the stream is closed", timeout=1.0)


async def test_cancelling_during_the_backoff_ends_the_tries(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(status=429, retry_after="1")
    answering = asyncio.create_task(collect_said(agent, conversation.ask("hello")))
    await wait_until(lambda: provider.requests, "the first try")
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert answering.cancelled()
    assert len(provider.requests) == 1


async def test_closing_the_agent_closes_running_streams(
    make_agent: MakeAgent, provider: Provider, conversation: Conversation
) -> None:
    provider.respond = lambda body: Script(["one"], silent_after=1)
    agent = make_agent()
    stream = said(agent, conversation.ask("hello"))
    await anext(stream)
    await agent.close()
    await wait_until(lambda: provider.closed_by_client == 1, "the stream is closed", timeout=1.0)
    await stream.aclose()


async def test_the_connection_is_used_again_after_a_complete_answer(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    for text in ("one", "two", "three"):
        await conversation.turn(agent, text)
    assert provider.open_streams == 0
    assert provider.closed_by_client == 0


async def test_a_conversation_that_cant_be_read_is_unavailable_and_asks_no_model(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    request = conversation.ask("hello")
    conversation.away = True
    with pytest.raises(Unavailable):
        await collect_said(agent, request)
    assert provider.requests == []


async def test_a_hundred_answers_at_a_time_stay_apart(agent: ChatAgent, provider: Provider) -> None:
    def slowly(body: Body) -> Script:
        script = echo(body)
        script.delay = 0.01
        return script

    provider.respond = slowly
    requests = [Conversation().ask(f"number {i}") for i in range(100)]
    answers = await asyncio.gather(*(collect_said(agent, request) for request in requests))
    texts = ["".join(chunk.text for chunk in chunks) for chunks in answers]
    assert texts == [f"echo: number {i}" for i in range(100)]


async def test_the_agent_tells_how_the_last_answer_went(
    agent: ChatAgent, provider: Provider, conversation: Conversation
) -> None:
    assert agent.state == "not asked yet"
    await collect_said(agent, conversation.ask("well"))
    assert agent.state == "ok"
    provider.respond = lambda body: Script(status=401, error_message=f"Wrong key: {API_KEY}")
    _, failed = await said_before_failing(agent, conversation.ask("badly"))
    assert agent.state == f"the last answer failed: {failed}"
    assert API_KEY not in agent.state
    provider.respond = echo
    await collect_said(agent, conversation.ask("well again"))
    assert agent.state == "ok"
