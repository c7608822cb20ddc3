"""The contract as TypeScript: web/client/src/wire.ts, made anew by ``python -m tests.web.wire``.

Calls and their bounds come from server/protocol.py; answers, events and shapes from the tables of
docs/protocol.md, which tests/server/test_protocol_page.py holds to what the server sends.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from memory.records import MessageStatus, ToolUse, TurnStatus
from server import errors, protocol
from tests.server.test_protocol import CALLS
from tests.server.test_protocol_page import PAGE, table

WIRE = Path(__file__).parents[2] / "web" / "client" / "src" / "wire.ts"


STATUS: dict[str, Any] = {
    "- message:": MessageStatus,
    "- tool:": get_type_hints(ToolUse)["status"],
}


def union(literals: Any) -> str:
    return " | ".join(f'"{literal}"' for literal in sorted(get_args(literals)))


# What the fields hold that the page names, by their names: one name is one thing everywhere.
TYPES = {
    **dict.fromkeys(("id", "conversation_id", "message_id", "turn_id", "user_id"), "string"),
    **dict.fromkeys(("cursor", "token", "title", "content", "text", "code", "field"), "string"),
    **dict.fromkeys(("created_at", "updated_at", "media_type", "file_name"), "string"),
    **dict.fromkeys(("attempt", "index", "next_index", "message_count", "confidence"), "number"),
    "imported": "number",
    **dict.fromkeys(("reconnect_in_ms", "retry_after"), "number"),
    "seq": "number | null",
    **dict.fromkeys(("has_more", "guest", "retryable", "enabled", "edited"), "boolean"),
    "next": "string | null",
    "role": '"user" | "assistant"',
    "recovery": '"replayed" | "snapshot"',
    "durability": '"permanent" | "spooled"',
    "conversation": "WireConversation",
    "conversations": "WireConversation[]",
    "message": "WireMessage",
    "messages": "WireMessage[]",
    "message_ids": "string[]",
    "results": "{ conversation: WireConversation; message: WireMessage; snippet: string }[]",
    "turn": "WireTurn",
    "turns": "WireRunning[]",
    "tool": "WireTool",
    "tools": "WireTool[]",
    **dict.fromkeys(("name", "output"), "string"),
    "input": "Record<string, unknown>",
    "error": "WireError",
    **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), "number"),
    "days": "(WireUsage & { day: string })[]",
    "budget": "{ limit: number; used: number; resets_at: string }",
    "feedback": "{ value: 1 | -1; comment?: string }",
    "usage": "Record<string, unknown>",
    "type": '"image"',
    "media_type": "string",
    "size": "number",
    "data": "string",
    "attachment": "WireAttachment",
    "attachments": "WireAttachment[]",
    "context": "Record<string, unknown>",
    **dict.fromkeys(("model", "system_prompt"), "string | null"),
    "server": "{ version: string; limits: Record<string, number>; models: string[]; "
    "system_prompts: string[]; memory: boolean; shared_memory: boolean }",
    "fact": "WireFact",
    "facts": "WireFact[]",
    "source": "{ conversation_id: string; message_id: string } | null",
}

HEAD = f"""\
// The wire contract. Made from server/protocol.py and docs/protocol.md: don't edit this, run
//   python -m tests.web.wire

export const MAX_PACKET_BYTES = {protocol.MAX_PACKET_BYTES};
"""


def member(name: str, kind: str, *, optional: bool = False) -> str:
    key = f'"{name}"' if ":" in name else name
    return f"{key}{'?' if optional else ''}: {kind}"


def interface(name: str, members: list[str]) -> str:
    return "".join(
        [f"\nexport interface {name} {{\n", *(f"  {each};\n" for each in members), "}\n"]
    )


def inline(members: list[str]) -> str:
    return f"{{ {'; '.join(members)} }}" if members else "object"


# And where a call means something else by a name.
OF_CALLS: dict[str, dict[str, str]] = {
    "user:usage": {"usage": "WireUsage"},
    "user:delete": {"conversations": "number"},
}


def told(cell: str, kinds: dict[str, str] = TYPES) -> list[str]:
    """The members that a cell names: ``field``, ``field?``, ``field`` (… or null), or a field and
    the values it has."""
    found: list[tuple[str, str, bool]] = []
    for name, comment in re.findall(r"`([^`]+)`(?: (\((?:[^()]|\([^()]*\))*\)))?", _flat(cell)):
        if name.startswith('"'):
            field, kind, optional = found[-1]
            found[-1] = (field, f"{kind} | {name}" if kind.startswith('"') else name, optional)
            continue
        optional = name.endswith("?") or "for a snapshot" in cell.split(f"`{name}`")[0]
        kind = kinds.get(name.rstrip("?"), "unknown")
        found.append((name.rstrip("?"), kind + " | null" * ("or null" in comment), optional))
    return [member(name, kind, optional=optional) for name, kind, optional in found]


def _flat(cell: str) -> str:
    """Without the backticks that stand in parentheses."""
    return re.sub(r"\([^()]*\)", lambda comment: comment[0].replace("`", ""), cell)


def shape(name: str) -> list[str]:
    found = re.search(rf"{name} ?`\{{([^}}]+)\}}`", PAGE)
    assert found is not None, name
    kinds = TYPES | {
        "status": union(STATUS.get(name, TurnStatus)),
        "message": "string",  # of an error
        "media_type": union(protocol.MediaType),
    }
    if name == "- usage:":
        kinds |= {"turns": "number"}
    fields = [key.strip() for key in found[1].split(",")]
    return [member(key.rstrip("?"), kinds[key.rstrip("?")], optional="?" in key) for key in fields]


def parameter(kind: Any) -> str:
    """A field of a call, as msgspec knows it."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return " | ".join(
            parameter(each) for each in kind.types if not isinstance(each, msgspec.inspect.NoneType)
        )
    if isinstance(kind, msgspec.inspect.LiteralType):
        return " | ".join(json.dumps(value) for value in kind.values)
    if isinstance(kind, msgspec.inspect.ListType):
        return f"{parameter(kind.item_type)}[]"
    if isinstance(kind, msgspec.inspect.StructType):
        return inline(parameters(kind))
    if isinstance(kind, msgspec.inspect.BytesType):  # which JSON has as base64
        return "string | Uint8Array"
    if isinstance(kind, msgspec.inspect.DictType):
        return "Record<string, unknown>"
    return {msgspec.inspect.StrType: "string", msgspec.inspect.IntType: "number"}[type(kind)]


def parameters(kind: msgspec.inspect.StructType) -> list[str]:
    return [
        member(field.name, parameter(field.type), optional=not field.required)
        for field in kind.fields
    ]


def call(name: str, rows: dict[str, list[str]]) -> str:
    info = msgspec.inspect.type_info(CALLS[name])
    assert isinstance(info, msgspec.inspect.StructType)
    answer = rows[name][1]
    same = re.match(r"as `([^`]+)`", answer)
    members = told(rows[same[1]][1] if same else answer, TYPES | OF_CALLS.get(name, {}))
    return member(
        name, f"{{\n    fields: {inline(parameters(info))};\n    answer: {inline(members)};\n  }}"
    )


def wire() -> str:
    rows = table("Calls")
    feed = {
        name: ["conversation_id: string", "cursor: string", *told(row[0])]
        for name, row in table("The feed").items()
    }
    other = {name: told(row[0]) for name, row in table("Other events").items()}
    codes = " | ".join(f'"{kind.code}"' for kind in errors.CallError.__subclasses__())
    return "".join(
        [
            HEAD,
            f"\nexport type ErrorCode = {codes};\n",
            interface("WireError", shape("`error` is")),
            interface("WireConversation", shape("- conversation:")),
            interface("WireAttachment", shape("- attachment:")),
            interface("WireMessage", shape("- message:")),
            interface("WireTurn", shape("- turn:")),
            interface("WireTool", shape("- tool:")),
            interface("WireFact", shape("- fact:")),
            interface("WireRunning", shape(r"those queued or running:")),
            interface("WireUsage", shape("- usage:")),
            interface("Calls", [call(name, rows) for name in rows]),
            interface("FeedEvents", [member(name, inline(feed[name])) for name in feed]),
            interface("OtherEvents", [member(name, inline(other[name])) for name in other]),
        ]
    )


if __name__ == "__main__":
    WIRE.write_text(wire(), encoding="utf-8")
