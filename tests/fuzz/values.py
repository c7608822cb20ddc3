"""Values that calls are not made for, and calls made of them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.support.pictures import GIF, JPEG, WEBP, attachment, png

# Each call with its fields, and whether the call means anything without it.
CALLS: dict[str, tuple[str, ...]] = {
    "conversation:create": ("conversation_id", "title", "model", "system_prompt"),
    "conversation:list": ("limit", "before"),
    "conversation:open": ("conversation_id", "after"),
    "conversation:history": ("conversation_id", "before", "limit"),
    "conversation:close": ("conversation_id",),
    "conversation:rename": ("conversation_id", "title"),
    "conversation:configure": ("conversation_id", "model", "system_prompt"),
    "conversation:delete": ("conversation_id",),
    "conversation:search": ("query", "limit", "conversation_id"),
    "conversation:export": ("conversation_id", "format", "after"),
    "conversation:import": ("conversation_id", "document"),
    "message:send": ("message_id", "content", "conversation_id", "if_busy", "attachments"),
    "message:edit": (
        *("conversation_id", "message_id", "new_message_id", "content", "attachments"),
    ),
    "message:feedback": ("conversation_id", "message_id", "value", "comment"),
    "user:usage": ("conversation_id", "days"),
    "turn:stop": ("conversation_id", "turn_id"),
    "turn:regenerate": ("conversation_id", "turn_id", "new_turn_id"),
    "turn:context": ("conversation_id", "turn_id"),
    "memory:list": ("limit", "before"),
    "memory:update": ("fact_id", "text"),
    "memory:delete": ("fact_id",),
    "attachment:get": ("conversation_id", "attachment_id"),
    "user:delete": ("confirm",),
}

# Names that are not the contract's, and that mean something to libraries.
OTHER_NAMES = (
    *("connect", "disconnect", "connect_error", "message", "error", "ping", "join", "*", ""),
    *("__init__", "__class__", "dispatch", "constructor", "newListener", "\x00", "turn:delta"),
    *("session", "session:expired", "conversation:", ":", "message:send ", "MESSAGE:SEND"),
)

TEXTS = (
    *("", " ", "\n\t", "\x00", "a\x00b", "null", "undefined", "true", "0", "-1", "NaN"),
    *("__proto__", "constructor", "prototype", "toString", "$where", "$gt", "{}", "[]", "{{7*7}}"),
    *("'; DROP TABLE turns; --", '" OR 1=1', "*", "mnemosio:*", "\r\nSET x y\r\n", "%s%n%x"),
    *("../../../etc/passwd", "file:///etc/passwd", "<script>alert(1)</script>", "\u202eabc"),
    *("مرحبا", "שלום", "👩🏽‍🚀", "é", "\ud800", "x\udfff", "\ufeff", "\uffff", "ａ"),
    *("\u2028", "\x1e", "451-", '42["x"]', "2", "guest:", "x" * 128, "x" * 129, "x" * 2_001),
)

NUMBERS = (
    *(0, -0.0, 1, -1, 0.5, 200, 201, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63) - 1),
    *(10**30, 1e308, -1e-308, float("nan"), float("inf"), float("-inf"), 10**400),
)


def value(rng: Random, depth: int = 0) -> Any:
    """Anything that JSON can say, and a little more."""
    kind = rng.randrange(10 if depth < 4 else 7)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind == 5:
        return rng.choice((None, True, False))
    if kind == 6:
        return "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(60)))
    if kind == 7:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return {key(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice((nested_list, nested_object, large))(rng)


def key(rng: Random) -> str:
    return rng.choice((*TEXTS[:40], "conversation_id", "_placeholder", "num", "$ne"))


def nested_list(rng: Random) -> Any:
    inner: Any = 1
    for _ in range(rng.choice((10, 300, 900))):
        inner = [inner]
    return inner


def nested_object(rng: Random) -> Any:
    inner: Any = 1
    for _ in range(rng.choice((10, 300))):
        inner = {"a": inner}
    return inner


def large(rng: Random) -> Any:
    return rng.choice(("x", "é", "\x00", "\ud83d")) * rng.choice((10_000, 150_000))


def proper(rng: Random, field: str, known: list[str]) -> Any:
    """What the field is for, or nearly."""
    if field == "if_busy":
        return rng.choice(("queue", "interrupt", "reject"))
    if field in ("model", "system_prompt"):
        return rng.choice(("", "larger", "pirate", "test-model"))
    if field == "attachments":
        return attachments(rng)
    if field == "format":
        return rng.choice(("json", "markdown"))
    if field == "document":
        return document(rng)
    if field in ("limit", "days"):
        return rng.randrange(1, 100)
    if field == "before":
        return rng.randrange(1, 100)
    if field == "value":
        return rng.choice((1, 0, -1))
    if field in ("content", "title", "comment", "query", "text"):
        return "".join(chr(rng.randrange(32, 0x2FF)) for _ in range(rng.randrange(1, 40)))
    if known and rng.random() < 0.7:
        return rng.choice(known)
    return f"{rng.getrandbits(64):x}"


def attachments(rng: Random) -> list[Any]:
    """Some images, and what may be none."""
    return [attachment_of(rng) for _ in range(rng.choice((0, 1, 1, 2, 5)))]


def attachment_of(rng: Random) -> Any:
    data = bytearray(rng.choice((png(shade=rng.randrange(256)), GIF, JPEG, WEBP)))
    for _ in range(rng.choice((0, 0, 1, 8))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    media_type = rng.choice(("png", "gif", "jpeg", "webp", "svg+xml"))
    made = attachment(bytes(data[: rng.choice((7, 20, 10_000))]), f"image/{media_type}")
    if rng.random() < 0.2:
        made[rng.choice((*made, "size"))] = value(rng, 3)
    return made


def document(rng: Random) -> Any:
    """Of a conversation, or nearly."""
    about = {name: value(rng) for name in ("title", "created_at", "model") if rng.random() < 0.3}
    messages = [
        {
            "role": rng.choice(("user", "assistant")),
            "content": proper(rng, "content", []),
            **({key(rng): value(rng)} if rng.random() < 0.2 else {}),
            **({"seq": rng.choice((1, 2, 3, 5, 19_999))} if rng.random() < 0.1 else {}),
        }
        for _ in range(rng.randrange(5))
    ]
    head = {"format": "mnemosio-conversation", "version": 1, "conversation": about}
    return {**head, "messages": messages if rng.random() < 0.9 else value(rng)}


def call(rng: Random, known: list[str]) -> tuple[Any, list[Any]]:
    """A name and its arguments. ``known`` are ids that there are."""
    name: Any = rng.choice(list(CALLS))
    fields = CALLS[name]
    wanted = {}
    for field in fields:
        fate = rng.random()
        if fate < 0.65:
            wanted[field] = proper(rng, field, known)
        elif fate < 0.9:
            wanted[field] = value(rng)
    if rng.random() < 0.2:
        wanted[key(rng)] = value(rng)
    arguments: list[Any] = [wanted]
    fate = rng.random()
    if fate < 0.05:
        arguments = [value(rng) for _ in range(rng.randrange(4))]
    elif fate < 0.1:
        name = rng.choice(OTHER_NAMES)
    elif fate < 0.13:
        name = value(rng)
    return name, arguments


def text_of(data: Any) -> str:
    """As a careless client would write it: with NaN, and lone surrogates as such."""
    return json.dumps(data, ensure_ascii=True)
