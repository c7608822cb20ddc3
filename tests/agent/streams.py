"""Streams in the shapes in which providers send them, whole responses, by name."""

from __future__ import annotations

import json
from typing import Any

Shape = dict[str, Any]

HEAD = {
    "id": "chatcmpl-B9xk2PQm1",
    "object": "chat.completion.chunk",
    "created": 1_760_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_50cad350e4",
}
USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 0},
}
DONE = b"data: [DONE]\n\n"


def event(delta: Shape | None = None, finish_reason: str | None = None, **more: Any) -> bytes:
    """Of OpenAI; ``more`` replaces fields of the event."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return sent({**HEAD, "choices": [choice], "usage": None, **more})


def sent(shape: Any) -> bytes:
    return b"data: " + json.dumps(shape, separators=(",", ":")).encode() + b"\n\n"


def text(*words: str) -> bytes:
    return b"".join(event({"content": word}) for word in words)


BEGIN = event({"role": "assistant", "content": "", "refusal": None})
STOP = event({}, "stop")
TOTAL = event(choices=[], usage=USAGE)
HELLO = BEGIN + text("Hel", "lo", " there", ".") + STOP


def tool(index: int, **more: Any) -> bytes:
    return event({"tool_calls": [{"index": index, **more}]})


def _logprob(token: str) -> Shape:
    return {
        "content": [{"token": token, "logprob": -0.1, "bytes": None, "top_logprobs": []}],
        "refusal": None,
    }


STREAMS: dict[str, bytes] = {
    "text": HELLO + TOTAL + DONE,
    "text without usage": HELLO + DONE,
    "nothing of an ending": BEGIN + text("Hel", "lo"),
    "no end of the last event": HELLO + TOTAL.rstrip(b"\n"),
    "an end without the blank line": HELLO + b"data: [DONE]",
    "more after the end": HELLO + DONE + text("not", "this"),
    "nothing": b"",
    "only the end": DONE,
    "only blank lines": b"\n\n\n\n",
    "cut short by its length": BEGIN + text("Once") + event({}, "length") + DONE,
    "filtered": BEGIN + text("Once") + event({}, "content_filter") + DONE,
    "a tool call": BEGIN
    + tool(0, id="call_1", type="function", function={"name": "look", "arguments": ""})
    + tool(0, function={"arguments": '{"at":'})
    + tool(0, function={"arguments": ' "the sea"}'})
    + event({}, "tool_calls")
    + TOTAL
    + DONE,
    "text, then two tool calls": BEGIN
    + text("I ", "look.")
    + tool(0, id="call_1", type="function", function={"name": "look", "arguments": "{}"})
    + tool(1, id="call_2", type="function", function={"name": "hear", "arguments": '{"x": [1'})
    + tool(1, function={"arguments": "]}"})
    + event({}, "tool_calls")
    + DONE,
    "text and a tool call in one delta": BEGIN
    + event(
        {
            "content": "now ",
            "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
        }
    )
    + DONE,
    "a function call of the old kind": BEGIN
    + event({"function_call": {"name": "look", "arguments": ""}})
    + event({"function_call": {"name": None, "arguments": "{}"}})
    + event({}, "function_call")
    + DONE,
    "a refusal": BEGIN
    + event({"refusal": "I can"})
    + event({"refusal": "not."})
    + event({"content": None, "refusal": None}, "stop")
    + DONE,
    "reasoning beside the text": BEGIN
    + event({"content": "", "reasoning_content": "Let me "})
    + event({"content": None, "reasoning_content": "think."})
    + event({"content": "Yes", "reasoning_content": None})
    + event({"content": ".", "reasoning": "sure", "reasoning_details": [{"text": "sure"}]})
    + STOP
    + TOTAL
    + DONE,
    "usage in every event": BEGIN
    + event({"content": "a"}, usage={**USAGE, "completion_tokens": 1})
    + event({"content": "b"}, usage={**USAGE, "completion_tokens": 2})
    + STOP
    + DONE,
    "the finish with the last text": BEGIN + text("a") + event({"content": "b"}, "stop") + DONE,
    "the finish by itself, twice": HELLO + STOP + DONE,
    "log probabilities": BEGIN
    + event(
        choices=[{"index": 0, "delta": {"content": "a"}, "logprobs": _logprob("a")}],
    )
    + text("b")
    + STOP
    + DONE,
    "a role in every delta": b"".join(
        event({"role": "assistant", "content": word}) for word in ("a", "b", "c")
    )
    + DONE,
    "another role": event({"role": "user", "content": "a"}) + text("b", "c") + STOP + DONE,
    "a role of the system's": event({"role": "system", "content": "a"}) + text("b") + DONE,
    "a role that nobody knows": event({"role": "critic", "content": "a"}) + text("b") + DONE,
    "an id in the delta": BEGIN + event({"content": "a", "id": "msg_1"}) + text("b") + DONE,
    "a filter's verdict first": event(choices=[], prompt_filter_results=[{"prompt_index": 0}])
    + HELLO
    + TOTAL
    + DONE,
    "several choices": BEGIN
    + event(
        choices=[
            {"index": 0, "delta": {"content": "a"}, "finish_reason": None},
            {"index": 1, "delta": {"content": "b"}, "finish_reason": None},
        ]
    )
    + DONE,
    "no delta": BEGIN + event(None) + text("a") + event(choices=[{"index": 0}]) + DONE,
    "no choices": sent({"id": "x"}) + text("a") + sent({**HEAD, "choices": None}) + DONE,
    "an array": BEGIN + sent([1, 2]) + text("a") + DONE,
    "a number": BEGIN + sent(3) + text("a") + DONE,
    "null": BEGIN + sent(None) + text("a") + DONE,
    "text that is no text": BEGIN + event({"content": 7}) + text("a") + DONE,
    "text in parts": BEGIN + event({"content": [{"type": "text", "text": "a"}]}) + DONE,
    "an error at once": sent({"error": {"message": "overloaded", "code": "server_error"}}),
    "an error in the middle": BEGIN
    + text("Hel")
    + sent({"error": {"message": "rate", "type": "requests", "code": "rate_limit_exceeded"}})
    + text("lo"),
    "an error that is a word": BEGIN + text("Hel") + sent({"error": "out of memory"}),
    "an error without a message": BEGIN + sent({"error": {"code": 500}}) + DONE,
    "an error event": BEGIN + b'event: error\ndata: {"error":{"message":"no"}}\n\n',
    "the context is full": sent({"error": {"message": "It exceeds the context window."}}),
    "an empty error": BEGIN + event({"content": "a"}, error={}) + text("b") + DONE,
    "keep-alives": b": PROCESSING\n\n" + BEGIN + b":\n\n" + text("a") + b": x\n\n" + STOP + DONE,
    "a comment before the data": BEGIN + b": ping\n" + text("a") + STOP + DONE,
    "named events": BEGIN + b"event: message\n" + text("a") + text("b") + STOP + DONE,
    "numbered events": b"id: 1\n" + BEGIN + b"id: 2\n" + text("a") + b"retry: 10\n" + STOP + DONE,
    "data in two lines": BEGIN
    + b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n'
    + text("b")
    + DONE,
    "no space after the colon": HELLO.replace(b"data: ", b"data:") + DONE,
    "two spaces after it": HELLO.replace(b"data: ", b"data:  ") + DONE,
    "more blank lines": HELLO.replace(b"\n\n", b"\n\n\n\n\n") + DONE,
    "lines that end as in mail": (HELLO + TOTAL + DONE).replace(b"\n", b"\r\n"),
    "both ends of lines": HELLO.replace(b"\n", b"\r\n") + text("a") + DONE,
    "lines that end in a return": (HELLO + DONE).replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + HELLO + DONE,
    "other scripts": BEGIN
    + text("Grüße", " 😀", " 漢字", " \u2028", "\x00\x1f", '"\\', "\r\n", "\n\n", "data: x")
    + 'data: {"choices":[{"index":0,"delta":{"content":"raw: ü 😀"}}]}\n\n'.encode()
    + STOP
    + DONE,
    "half an emoji": BEGIN
    + rb'data: {"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}'
    + b"\n\n"
    + rb'data: {"choices":[{"index":0,"delta":{"content":"\ude00"}}]}'
    + b"\n\n"
    + STOP
    + DONE,
    "what is no UTF-8": BEGIN + text("a") + b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
    "what is no JSON": BEGIN + text("a") + b"data: {oops}\n\n" + text("b"),
    "numbers of Python's own": BEGIN
    + b'data: {"choices":[{"index":0,"delta":{"content":"a"},"score":NaN}]}\n\n'
    + text("b")
    + DONE,
    "a field of another thing": BEGIN + b"data\n\n" + text("a") + b"foo: bar\n\n" + STOP + DONE,
    "a thread's event": BEGIN + b'event: thread.run\ndata: {"choices":[]}\n\n' + text("a") + DONE,
    "a delta of the beta": BEGIN + sent({"type": "content.delta", "delta": "x"}) + text("a") + DONE,
}
