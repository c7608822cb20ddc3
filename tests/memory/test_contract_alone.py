"""The memory by itself, as a plain script uses it: the same in Redis and in the fallback."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from memory import RedisConversationMemory
from memory.records import Message, Position, Summary, Transcript
from tests.memory.conftest import Make

CALLS = [
    {"name": "weather", "args": {"city": "Zürich"}, "id": "call-1", "type": "tool_call"},
    {"name": "time", "args": {}, "id": "call-2", "type": "tool_call"},
]
MESSAGES: list[BaseMessage] = [
    HumanMessage("hello", id="h", name="Ada"),
    SystemMessage("be brief", id="s"),
    AIMessage(
        "",
        id="a",
        tool_calls=CALLS,
        usage_metadata={"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
        response_metadata={"model_name": "m", "finish_reason": "tool_calls"},
        additional_kwargs={"reasoning": {"steps": [1, 2.5, None]}},
    ),
    AIMessage(
        "half",
        id="i",
        invalid_tool_calls=[
            {"name": "f", "args": "{", "id": "c", "error": "x", "type": "invalid_tool_call"}
        ],
    ),
    ToolMessage("rain", id="t", tool_call_id="call-1", status="error", artifact={"mm": 3}),
    FunctionMessage("42", id="f", name="compute"),
    ChatMessage("psst", id="c", role="critic"),
    RemoveMessage(id="r"),
    HumanMessage(
        [
            {"type": "text", "text": "what is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
        id="m",
    ),
]
AWKWARD = [
    "",
    "👩‍👩‍👧 שלום مرحبا",
    "a\x00b",
    "lone \ud800 surrogate \udfff",
    "x" * 100_000,
    '{"v":2',
]


@pytest.fixture
def memory(make: Make, url: str) -> RedisConversationMemory:
    return make(redis_url=url)


def texts(history: list[BaseMessage]) -> list[object]:
    return [message.content for message in history]


async def test_nobody_knows_anything_at_first(memory: RedisConversationMemory) -> None:
    assert await memory.get_conversation_history("c") == []
    assert await memory.get_summary("c") == ""
    assert await memory.read("c") == Transcript(messages=[])


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.id)
async def test_a_message_comes_back_whole(
    memory: RedisConversationMemory, message: BaseMessage
) -> None:
    await memory.add_message("c", message)
    assert await memory.get_conversation_history("c") == [message]


async def test_a_streamed_chunk_comes_back_as_a_message(memory: RedisConversationMemory) -> None:
    await memory.add_message("c", AIMessageChunk("done", id="a"))
    assert await memory.get_conversation_history("c") == [AIMessage("done", id="a")]


@pytest.mark.parametrize("text", AWKWARD, ids=lambda text: ascii(text[:12]))
async def test_any_text_comes_back_unchanged(memory: RedisConversationMemory, text: str) -> None:
    conversation_id = f"c{text[:50]}"
    await memory.add_message(conversation_id, HumanMessage(text, id=text[:50] or None))
    await memory.add_message(conversation_id, AIMessage("plain"))
    await memory.set_summary(conversation_id, text)
    assert texts(await memory.get_conversation_history(conversation_id)) == [text, "plain"]
    assert await memory.get_summary(conversation_id) == text


async def test_messages_keep_their_order(memory: RedisConversationMemory) -> None:
    for n in range(10):
        await memory.add_message("c", HumanMessage(str(n)))
    assert texts(await memory.get_conversation_history("c")) == [str(n) for n in range(10)]


async def test_concurrent_messages_are_all_kept(memory: RedisConversationMemory) -> None:
    await asyncio.gather(*(memory.add_message("c", HumanMessage(str(n))) for n in range(40)))
    kept = texts(await memory.get_conversation_history("c"))
    assert sorted(kept, key=lambda text: int(str(text))) == [str(n) for n in range(40)]


async def test_only_the_latest_messages_are_kept(make: Make, url: str) -> None:
    memory = make(3, url)
    for n in range(5):
        await memory.add_message("c", HumanMessage(str(n)))
    assert texts(await memory.get_conversation_history("c")) == ["2", "3", "4"]


async def test_a_message_without_an_id_gets_one(memory: RedisConversationMemory) -> None:
    await memory.add_message("c", HumanMessage("same"))
    await memory.add_message("c", HumanMessage("same"))
    first, second = await memory.get_conversation_history("c")
    assert first.id
    assert second.id
    assert first.id != second.id


async def test_messages_with_one_id_are_one(memory: RedisConversationMemory) -> None:
    message = HumanMessage("hello", id="one")
    await memory.add_message("c", message)
    await memory.add_message("c", AIMessage("hi", id="two"))
    await memory.add_message("c", message)
    assert texts(await memory.get_conversation_history("c")) == ["hello", "hi"]


async def test_turns_are_counted_by_register_turn_only(memory: RedisConversationMemory) -> None:
    await memory.add_message("c", HumanMessage("q"))
    await memory.add_message("c", AIMessage("a"))
    assert [await memory.register_turn("c") for _ in range(3)] == [1, 2, 3]
    assert await memory.register_turn("another") == 1
    assert (await memory.read("c")).position == Position(answers=3)


async def test_the_latest_summary_is_given(memory: RedisConversationMemory) -> None:
    await memory.set_summary("c", "first")
    await memory.add_message("c", HumanMessage("q"))
    await memory.register_turn("c")
    await memory.set_summary("c", 'second "quoted"')
    assert await memory.get_summary("c") == 'second "quoted"'
    transcript = await memory.read("c")
    assert transcript.summary == Summary(text='second "quoted"', upto=0, turns=1, version=2)


async def test_a_cleared_conversation_begins_anew(memory: RedisConversationMemory) -> None:
    await memory.add_message("c", HumanMessage("old", id="same"))
    await memory.set_summary("c", "old")
    await memory.register_turn("c")
    await memory.clear_conversation("c")
    assert await memory.read("c") == Transcript(messages=[])
    await memory.add_message("c", HumanMessage("new", id="same"))
    assert texts(await memory.get_conversation_history("c")) == ["new"]
    assert await memory.get_summary("c") == ""
    assert await memory.register_turn("c") == 1


async def test_what_was_read_is_the_readers_own(memory: RedisConversationMemory) -> None:
    message = HumanMessage([{"type": "text", "text": "as it was"}], id="h")
    await memory.add_message("c", message)
    message.content[0]["text"] = "changed after adding"  # type: ignore[index, call-overload]
    read = (await memory.get_conversation_history("c"))[0]
    assert read.content == [{"type": "text", "text": "as it was"}]
    read.content[0]["text"] = "changed after reading"  # type: ignore[index, call-overload]
    again = (await memory.get_conversation_history("c"))[0]
    assert again.content == [{"type": "text", "text": "as it was"}]


async def test_what_json_cannot_carry_is_refused_and_nothing_is_written(
    memory: RedisConversationMemory,
) -> None:
    with pytest.raises(TypeError):
        await memory.add_message("c", AIMessage("x", additional_kwargs={"lock": asyncio.Lock()}))
    assert await memory.get_conversation_history("c") == []


async def test_a_tools_result_whose_call_was_trimmed_is_left_out(make: Make, url: str) -> None:
    memory = make(4, url)
    await memory.add_message("c", HumanMessage("weather and time?"))
    await memory.add_message("c", AIMessage("", tool_calls=CALLS))
    await memory.add_message("c", ToolMessage("rain", tool_call_id="call-1"))
    await memory.add_message("c", ToolMessage("noon", tool_call_id="call-2"))
    assert len(await memory.get_conversation_history("c")) == 4
    await memory.add_message("c", AIMessage("rain at noon"))
    assert [m.type for m in await memory.get_conversation_history("c")] == [
        "ai",
        *["tool"] * 2,
        "ai",
    ]
    await memory.add_message("c", HumanMessage("thanks"))
    assert [m.type for m in await memory.get_conversation_history("c")] == ["ai", "human"]


async def test_without_an_archive_there_is_nothing_to_remember_into(
    memory: RedisConversationMemory,
) -> None:
    with pytest.raises(RuntimeError, match="no archive"):
        await memory.remember("c", Message(id="q", seq=1, type="human", content="?"), Position())


async def test_one_summariser_at_a_time(memory: RedisConversationMemory) -> None:
    assert await memory.claim_summary("c")
    assert not await memory.claim_summary("c")
    assert await memory.claim_summary("another")
    await memory.release_summary("c")
    assert await memory.claim_summary("c")
