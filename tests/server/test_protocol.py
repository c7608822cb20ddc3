"""The wire contract as a table: the calls, their bounds and the shapes that go out."""

from __future__ import annotations

import base64
from typing import Any, cast

import msgspec
import pytest

from memory.records import Answer, Conversation, Message, Position, Question, Turn, question_of
from server import protocol, shapes
from server.calls.attachments import AttachmentCalls
from server.calls.conversations import ConversationCalls
from server.calls.dispatch import Calls
from server.calls.feedback import FeedbackCalls
from server.calls.inspecting import InspectingCalls
from server.calls.memory import MemoryCalls
from server.calls.messages import MessageCalls
from server.calls.search import SearchCalls
from server.calls.transfer import TransferCalls
from server.calls.usage import UsageCalls
from server.calls.user import UserCalls
from server.choices import Choices
from server.edge.connections import Connection, Connections
from server.edge.rates import Rates
from server.errors import CallError, Invalid, TooLarge

CALLS: dict[str, type[msgspec.Struct]] = {
    "conversation:create": protocol.CreateConversation,
    "conversation:list": protocol.ListConversations,
    "conversation:open": protocol.OpenConversation,
    "conversation:history": protocol.ConversationHistory,
    "conversation:close": protocol.CloseConversation,
    "conversation:rename": protocol.RenameConversation,
    "conversation:configure": protocol.ConfigureConversation,
    "conversation:delete": protocol.DeleteConversation,
    "conversation:search": protocol.SearchMessages,
    "conversation:export": protocol.ExportConversation,
    "conversation:import": protocol.ImportConversation,
    "message:send": protocol.SendMessage,
    "message:edit": protocol.EditMessage,
    "message:feedback": protocol.GiveFeedback,
    "user:usage": protocol.UserUsage,
    "turn:stop": protocol.StopTurn,
    "turn:regenerate": protocol.RegenerateTurn,
    "turn:context": protocol.TurnContext,
    "attachment:get": protocol.GetAttachment,
    "memory:list": protocol.ListFacts,
    "memory:update": protocol.UpdateFact,
    "memory:delete": protocol.DeleteFact,
    "user:delete": protocol.DeleteUser,
}

NO_TEXTS = {"value": 1, "document": {"format": "a"}, "confirm": "delete everything"}
"""What stands in a required field that is not any text."""


def example(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The least that a call of this kind may hold."""
    given = {name: "a" for name in kind.__struct_fields__ if name in required(kind)}
    return given | {name: NO_TEXTS[name] for name in given if name in NO_TEXTS}


def required(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if field.required}


def refusal(kind: type[msgspec.Struct], *arguments: object) -> CallError:
    with pytest.raises(Invalid) as caught:
        protocol.parse(kind, arguments)
    return caught.value


def conversation(**changed: Any) -> Conversation:
    values = {"id": "c", "user_id": "u", "title": "Plans", "created_at": 0, "updated_at": 1}
    return Conversation(**(values | changed))


def turn(**changed: Any) -> Turn:
    values: dict[str, Any] = {
        "id": "t",
        "conversation_id": "c",
        "user_id": "u",
        "n": 3,
        "question": Question(message_id="m", content="Why?", created_at=1_700_000_000_123),
        "digest": "d",
        "accepted": "running",
        "status": "running",
        "attempt": 1,
        "created_at": 1_700_000_000_123,
    }
    return Turn(**(values | changed))


def calls_and_a_connection() -> tuple[Calls, Connection]:
    connections = Connections(lambda event, payload, sids: None)
    connection = Connection("sid", "u", guest=True)
    connections.add(connection)
    # A call that does not parse must reach nobody: there is nobody here to reach.
    nobody = cast("Any", None)
    conversations = ConversationCalls(
        connections=connections,
        conversations=nobody,
        turns=nobody,
        deletion=nobody,
        feeds=nobody,
        choices=Choices(),
    )
    messages = MessageCalls(
        connections=connections,
        conversations=nobody,
        feeds=nobody,
        attachments=nobody,
        acceptance=nobody,
        rewriting=nobody,
        answering=nobody,
        max_message_chars=10,
    )
    attachments = AttachmentCalls(conversations=nobody, attachments=nobody)
    inspecting = InspectingCalls(conversations=nobody, turns=nobody)
    feedback = FeedbackCalls(
        connections=connections, conversations=nobody, turns=nobody, memory=nobody
    )
    searching = SearchCalls(conversations=nobody, finder=nobody)
    memories = MemoryCalls(nobody, nobody)
    usage = UsageCalls(conversations=nobody, usage=nobody, budgets=nobody)
    transfer = TransferCalls(
        connections=connections,
        conversations=nobody,
        exporting=nobody,
        importing=nobody,
        pay=nobody,
        max_message_chars=10,
    )
    groups = (
        conversations,
        messages,
        attachments,
        inspecting,
        feedback,
        searching,
        memories,
        usage,
        transfer,
        UserCalls(nobody),
    )
    rates = Rates(calls=0, messages=0)
    calls = Calls(connections, rates, *(group.handlers for group in groups))
    return calls, connection


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_is_no_object_is_answered_with_invalid(name: str) -> None:
    calls, connection = calls_and_a_connection()
    for arguments in ((), (None,), ([],), ("text",), (1,), ({}, {}), (b"bytes",)):
        answer = await calls.dispatch(connection.sid, name, arguments)
        assert answer.body["ok"] is False
        assert answer.body["error"]["message"] == "A call takes exactly one object."


@pytest.mark.parametrize("name", ["session", "connect", "", "open", None, 5, ["x"], {}])
async def test_what_is_no_call_is_answered_with_invalid(name: object) -> None:
    calls, connection = calls_and_a_connection()
    answer = await calls.dispatch(connection.sid, name, ({},))
    assert answer.body == {
        "ok": False,
        "error": {"code": "invalid", "message": "There is no such call.", "retryable": False},
    }


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS.keys())
def test_a_missing_field_is_named(kind: type[msgspec.Struct]) -> None:
    for name in required(kind):
        given = {key: value for key, value in example(kind).items() if key != name}
        assert refusal(kind, given).field == name


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS.keys())
def test_a_field_of_another_type_is_named(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        for value in (True, 1.5, float("nan"), [], {}, b"bytes"):
            if name == "attachments" and value == []:
                continue
            assert refusal(kind, example(kind) | {name: value}).field == name, value


def test_a_number_is_no_text_and_a_text_no_number() -> None:
    assert refusal(protocol.StopTurn, {"conversation_id": "c", "turn_id": 5}).field == "turn_id"
    assert refusal(protocol.ListConversations, {"limit": "5"}).field == "limit"


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS.keys())
def test_null_is_a_field_left_out_and_unknown_fields_are_ignored(
    kind: type[msgspec.Struct],
) -> None:
    given = example(kind)
    optional = set(kind.__struct_fields__) - required(kind)
    plain = protocol.parse(kind, (given,))
    assert protocol.parse(kind, (given | dict.fromkeys(optional),)) == plain
    assert protocol.parse(kind, (given | {"": 1, "__class__": "x", "nöch": None},)) == plain
    for name in required(kind):
        assert refusal(kind, given | {name: None}).field == name


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS.keys())
def test_an_id_has_1_to_128_characters(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        if name.endswith("_id"):
            for fits in ("x", "x" * 128, "🙂" * 128, "\0", "../$where"):
                protocol.parse(kind, (example(kind) | {name: fits},))
            for bad in ("", "x" * 129):
                assert refusal(kind, example(kind) | {name: bad}).field == name


@pytest.mark.parametrize(
    ("kind", "name", "fits", "bad"),
    [
        (protocol.CreateConversation, "title", ["x", "x" * 200], ["", "x" * 201]),
        (protocol.RenameConversation, "title", ["x", "x" * 200], ["", "x" * 201]),
        (protocol.ListConversations, "limit", [1, 100], [0, -1, 101, 10**30]),
        (protocol.ListConversations, "before", ["", "x" * 1024], ["x" * 1025]),
        (protocol.ConversationHistory, "limit", [1, 200], [0, -1, 201, 10**30]),
        (protocol.ConversationHistory, "before", [1, 2**40], [0, -1]),
        (protocol.OpenConversation, "after", ["", "x" * 100_000], []),
        (protocol.GiveFeedback, "value", [1, 0, -1], [2, -2, 10**30]),
        (protocol.GiveFeedback, "comment", ["", "x" * 2_000], ["x" * 2_001]),
        (protocol.UserUsage, "days", [1, 90], [0, -1, 91, 10**30]),
        (protocol.SendMessage, "content", ["x", "x" * 500_000], [""]),
        (protocol.SendMessage, "if_busy", ["queue", "interrupt", "reject"], ["", "Queue", "no"]),
    ],
)
def test_bounds(
    kind: type[msgspec.Struct], name: str, fits: list[object], bad: list[object]
) -> None:
    for value in fits:
        assert getattr(protocol.parse(kind, (example(kind) | {name: value},)), name) == value
    for value in bad:
        assert refusal(kind, example(kind) | {name: value}).field == name


def test_defaults() -> None:
    assert protocol.parse(protocol.ListConversations, ({},)).limit == 30
    assert protocol.parse(protocol.ConversationHistory, ({"conversation_id": "c"},)).limit == 50
    sent = protocol.parse(protocol.SendMessage, ({"message_id": "m", "content": "x"},))
    assert (sent.conversation_id, sent.if_busy) == (None, "queue")


def test_a_refusal_says_nothing_of_how_it_was_found_out() -> None:
    message = refusal(protocol.ListConversations, {"limit": "many"}).message
    assert message == "Expected `int`, got `str`"


@pytest.mark.parametrize("content", [" ", "\n\t ", "\u2003", "\u3000"])
def test_a_message_of_white_space_is_invalid(content: str) -> None:
    with pytest.raises(Invalid) as caught:
        protocol.check_content(content, 10)
    assert caught.value.field == "content"


def test_a_message_that_is_too_long_is_too_large_and_0_is_no_limit() -> None:
    protocol.check_content("🙂" * 10, 10)
    protocol.check_content("x" * 1_000_000, 0)
    protocol.check_content("\0", 10)
    with pytest.raises(TooLarge) as caught:
        protocol.check_content("x" * 11, 10)
    assert caught.value.field == "content"
    assert "10 characters" in caught.value.message


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_rfc_3339_in_utc_with_milliseconds(at: int, text: str) -> None:
    assert shapes.time_text(at) == text


@pytest.mark.parametrize("conversation_id", ["c", "a:b:c", "🙂", "\0", "x" * 128, "🙂" * 128])
def test_a_list_cursor_comes_back_as_it_was(conversation_id: str) -> None:
    cursor = protocol.list_cursor(conversation(id=conversation_id, updated_at=1_700_000_000_123))
    assert protocol.parse_list_cursor(cursor) == (1_700_000_000_123, conversation_id)
    protocol.parse(protocol.ListConversations, ({"before": cursor},))  # it fits its own bound


def test_no_list_cursor_is_the_first_page() -> None:
    assert protocol.parse_list_cursor(None) is None


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "====", "!!!!", "é", "\ud800", "\0", "null"]
    + [base64.urlsafe_b64encode(raw).decode() for raw in (b"a:b", b":", b"5", b"\xff:\xff")]
    + [base64.urlsafe_b64encode(b"%d:x" % 10**40).decode()],
)
def test_a_garbage_list_cursor_is_invalid(garbage: str) -> None:
    with pytest.raises(Invalid) as caught:
        protocol.parse_list_cursor(garbage)
    assert caught.value.field == "before"


def test_a_conversation_as_it_goes_out() -> None:
    shape = shapes.conversation_shape(
        conversation(position=Position(turn=3, answers=2), digest="secret")
    )
    assert shape == {
        "id": "c",
        "title": "Plans",
        "created_at": "1970-01-01T00:00:00.000Z",
        "updated_at": "1970-01-01T00:00:00.001Z",
        "message_count": 5,
        "model": None,
        "system_prompt": None,
    }


def test_a_message_as_it_goes_out() -> None:
    assert shapes.message_shape("c", question_of(turn())) == {
        "id": "m",
        "conversation_id": "c",
        "seq": 5,
        "role": "user",
        "content": "Why?",
        "status": "complete",
        "turn_id": "t",
        "created_at": "2023-11-14T22:13:20.123Z",
    }
    answer = Message(id="a", seq=6, type="ai", content="So.", status="stopped", turn_id="t")
    shape = shapes.message_shape("c", answer)
    assert (shape["role"], shape["status"]) == ("assistant", "stopped")


def test_a_turn_goes_out_as_it_is_or_as_it_was_accepted() -> None:
    ended = turn(
        status="completed",
        attempt=2,
        owner="slot:boot",
        answer=Answer(message_id="a", content="So.", status="complete", created_at=1),
    )
    common = {"id": "t", "conversation_id": "c", "message_id": "m"}
    assert shapes.turn_shape(ended) == common | {"status": "completed", "attempt": 2}
    accepted = shapes.turn_shape(ended, as_accepted=True)
    assert accepted == common | {"status": "running", "attempt": 1}
    waited = shapes.turn_shape(turn(accepted="queued", attempt=1), as_accepted=True)
    assert waited == common | {"status": "queued", "attempt": 0}


def test_new_ids_differ() -> None:
    assert len({protocol.new_id() for _ in range(100)}) == 100


PICTURE = {"type": "image", "media_type": "image/png", "data": "YWJj"}


def test_an_attachments_data_is_base64_or_bytes() -> None:
    for data in ("YWJj", b"abc"):
        given = {"message_id": "m", "content": "x", "attachments": [PICTURE | {"data": data}]}
        sent = protocol.parse(protocol.SendMessage, (given,))
        assert sent.attachments[0].data == b"abc"


@pytest.mark.parametrize(
    "attachment",
    [
        PICTURE | {"data": "YWJ"},
        PICTURE | {"data": "YW-_"},
        PICTURE | {"data": "YWJj\n"},
        PICTURE | {"data": [97]},
        PICTURE | {"media_type": "image/svg+xml"},
        PICTURE | {"media_type": "IMAGE/PNG"},
        PICTURE | {"type": "file"},
        {"type": "image", "media_type": "image/png"},
        "YWJj",
        None,
    ],
)
def test_an_attachment_that_is_none_is_named(attachment: object) -> None:
    for kind in (protocol.SendMessage, protocol.EditMessage):
        assert refusal(kind, example(kind) | {"attachments": [attachment]}).field == "attachments"


def test_too_much_binary_is_too_large() -> None:
    with pytest.raises(TooLarge):
        protocol.parse(protocol.SendMessage, (protocol.OVERFULL,))
