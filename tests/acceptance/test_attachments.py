"""Images that come with messages: stored once, given back to their owner, and gone with them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.node import JS_FOLDER, require_node
from tests.support.pictures import GIF, JPEG, WEBP, attachment, png
from tests.support.provider import Provider, Script, images_of, text_of
from tests.support.wait import wait_until


async def fetched(client: Client, message: dict[str, Any], index: int = 0) -> bytes:
    """The bytes of one of a message's attachments."""
    wanted = message["attachments"][index]
    answer = await client.ok(
        "attachment:get",
        conversation_id=message["conversation_id"],
        attachment_id=wanted["id"],
    )
    assert answer["attachment"] == wanted
    return base64.b64decode(answer["data"])


def stored(mongod: Mongod, app: App) -> int:
    with mongod.client() as client:
        return client[app.settings["MONGODB_DATABASE"]]["attachments"].count_documents({})


async def test_images_are_kept_apart_and_given_back_everywhere(
    two: tuple[App, App], mongod: Mongod
) -> None:
    here, there = two
    data = [png(padding=5_000), JPEG, GIF, WEBP]
    kinds = ["image/png", "image/jpeg", "image/gif", "image/webp"]
    given = [attachment(each, kind) for each, kind in zip(data, kinds, strict=True)]
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        assert guest.session["server"]["limits"]["attachments"] == 4
        assert guest.session["server"]["limits"]["attachment_bytes"] == 700_000
        sent = await guest.send("look", attachments=given)
        assert sent["durability"] == "permanent"
        message = sent["message"]
        assert message["content"] == "look"
        assert [(each["media_type"], each["size"]) for each in message["attachments"]] == [
            (kind, len(each)) for kind, each in zip(kinds, data, strict=True)
        ]
        assert (await guest.next_event("message:created"))["message"] == message
        await guest.completed(sent["turn"]["id"])
        conversation_id = sent["conversation_id"]
        opened = await across.open(conversation_id)
        assert opened["messages"][0] == message
        assert "attachments" not in opened["messages"][1]
        assert (await across.transcript(conversation_id))[0] == message
        for index, each in enumerate(data):
            assert await fetched(across, message, index) == each
    with mongod.client() as client:
        turn = client[here.settings["MONGODB_DATABASE"]]["turns"].find_one()
        assert turn is not None
        assert len(json.dumps(turn, default=str)) < 4_000  # by reference


@pytest.mark.parametrize("as_text", [True, False], ids=["base64", "binary"])
async def test_a_message_sent_again_is_the_same_and_one_with_another_image_a_conflict(
    start_app: StartApp, provider: Provider, as_text: bool
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        call = {"message_id": new_id(), "content": "look"}
        picture = attachment(as_text=as_text)
        answers = await asyncio.gather(
            *(guest.ok("message:send", **call, attachments=[picture]) for _ in range(5))
        )
        assert all(each["message"] == answers[0]["message"] for each in answers)
        # The same bytes, said the other way.
        other_way = attachment(as_text=not as_text)
        again = await guest.ok("message:send", **call, attachments=[other_way])
        assert again["message"] == answers[0]["message"]
        for attachments in ([], [attachment(png(shade=1))], [picture, picture]):
            refused = await guest.refusal("message:send", **call, attachments=attachments)
            assert (refused["code"], refused["field"]) == ("conflict", "message_id")
        assert (await guest.refusal("message:send", **call))["code"] == "conflict"
        await guest.completed(answers[0]["turn"]["id"])
        assert await fetched(guest, answers[0]["message"]) == png()
    assert len(provider.chats) == 1


NODE = """
const { io } = require("socket.io-client");
const { readFileSync } = require("node:fs");
const socket = io(process.argv[2], { transports: [process.argv[3]] });
socket.on("connect", () => {
  const data = readFileSync(process.argv[4]);
  const attachments = [{ type: "image", media_type: "image/png", data }];
  const message_id = crypto.randomUUID();
  socket.emit("message:send", { message_id, content: "look", attachments }, (sent) => {
    const { conversation_id, message } = sent;
    const attachment_id = message?.attachments[0].id;
    socket.emit("attachment:get", { conversation_id, attachment_id }, (got) => {
      console.log(JSON.stringify({ sent, same: Buffer.from(got.data, "base64").equals(data) }));
      socket.close();
    });
  });
});
"""


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_node_client_sends_a_buffer(
    start_app: StartApp, provider: Provider, tmp_path: Path, transport: str
) -> None:
    node = require_node()
    app = start_app(**with_provider(provider))
    (tmp_path / "picture.png").write_bytes(png(padding=600_000))
    (tmp_path / "send.cjs").write_text(NODE)
    (tmp_path / "node_modules").symlink_to(JS_FOLDER / "node_modules")
    process = await asyncio.create_subprocess_exec(
        node,
        "send.cjs",
        app.url,
        transport,
        "picture.png",
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    told = json.loads(printed)
    assert told["sent"]["ok"], told
    assert told["same"]


async def test_what_is_too_large_or_no_image_is_refused_and_nothing_is_kept(
    start_app: StartApp, shared: dict[str, str], mongod: Mongod
) -> None:
    app = start_app(**shared, MAX_ATTACHMENT_BYTES="200000", MAX_ATTACHMENTS="2")
    picture = attachment()
    large = attachment(png(padding=200_000), as_text=False)
    refused: list[tuple[str, list[Any]]] = [
        ("too_large", [picture] * 3),
        ("too_large", [large]),
        ("too_large", [attachment(png(30_000, 30_000))]),
        ("invalid", [attachment(b"<svg xmlns='http://www.w3.org/2000/svg'/>")]),
        ("invalid", [attachment(b"<svg/>", "image/svg+xml")]),
        ("invalid", [attachment(JPEG, "image/png")]),
        ("invalid", [attachment(png()[:20])]),
        ("invalid", [attachment(b"")]),
        ("invalid", [picture | {"data": "%%%"}]),
        ("invalid", [picture | {"type": "file"}]),
        ("invalid", ["x"]),
    ]
    async with Client(app.url) as guest:
        for code, attachments in refused:
            for data in (attachments, attachments[::-1]):
                error = await guest.refusal(
                    "message:send", message_id=new_id(), content="look", attachments=data
                )
                assert (error["code"], error["field"]) == (code, "attachments"), attachments
        error = await guest.refusal(
            "message:send", message_id=new_id(), content=" ", attachments=[picture]
        )
        assert (error["code"], error["field"]) == ("invalid", "content")
        assert (await guest.ok("conversation:list"))["conversations"] == []
    assert stored(mongod, app) == 0


async def test_more_binary_than_a_packet_may_have_is_answered_and_the_connection_stays(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    parts = [attachment(png(padding=400_000, shade=n), as_text=False) for n in range(3)]
    async with Client(app.url) as guest:
        error = await guest.refusal(
            "message:send", message_id=new_id(), content="look", attachments=parts
        )
        assert error["code"] == "too_large"
        sent = await guest.send("look", attachments=parts[:2])
        assert [each["size"] > 400_000 for each in sent["message"]["attachments"]] == [True] * 2
        assert len(guest.all("session")) == 1


async def test_where_none_are_taken_every_image_is_too_large(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, MAX_ATTACHMENTS="0"))
    async with Client(app.url) as guest:
        assert guest.session["server"]["limits"]["attachments"] == 0
        error = await guest.refusal(
            "message:send", message_id=new_id(), content="look", attachments=[attachment()]
        )
        assert error["code"] == "too_large"
        await guest.ask("without any")


async def test_a_stranger_gets_no_image_whatever_they_know_of_it(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest, Client(app.url) as stranger:
        sent = await guest.send("look", attachments=[attachment()])
        conversation_id = sent["conversation_id"]
        attachment_id = sent["message"]["attachments"][0]["id"]
        theirs = (await stranger.ask("hello"))["conversation_id"]
        mine = (await guest.ask("another"))["conversation_id"]
        for client, where, what in (
            (stranger, conversation_id, attachment_id),
            (stranger, theirs, attachment_id),
            (guest, mine, attachment_id),
            (guest, new_id(), attachment_id),
            (guest, conversation_id, new_id()),
        ):
            error = await client.refusal(
                "attachment:get", conversation_id=where, attachment_id=what
            )
            assert error["code"] == "not_found"


async def test_a_user_has_room_for_so_much_and_has_it_back_with_the_conversation(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, MAX_ATTACHMENT_BYTES_PER_USER="20000"))
    async with Client(app.url) as guest, Client(app.url) as other:
        # However small, each counts as 4,096 bytes.
        sent = await guest.send("four", attachments=[attachment(png(shade=n)) for n in range(4)])
        call = {"message_id": new_id(), "content": "one more", "attachments": [attachment()]}
        error = await guest.refusal("message:send", **call)
        assert (error["code"], error["field"]) == ("too_large", "attachments")
        await other.send("mine", attachments=[attachment()])
        await guest.completed(sent["turn"]["id"])
        await guest.ok("conversation:delete", conversation_id=sent["conversation_id"])
        await guest.ok("message:send", **call)


async def test_images_go_with_their_conversation(
    start_app: StartApp, shared: dict[str, str], mongod: Mongod
) -> None:
    app = start_app(**shared)
    async with Client(app.url) as guest:
        kept = await guest.send("kept", attachments=[attachment()])
        sent = await guest.send("look", attachments=[attachment(), attachment(png(shade=9))])
        await guest.completed(sent["turn"]["id"])
        assert stored(mongod, app) == 3
        await guest.ok("conversation:delete", conversation_id=sent["conversation_id"])
        assert stored(mongod, app) == 1
        error = await guest.refusal(
            "attachment:get",
            conversation_id=sent["conversation_id"],
            attachment_id=sent["message"]["attachments"][0]["id"],
        )
        assert error["code"] == "not_found"
        assert await fetched(guest, kept["message"]) == png()


async def test_an_edit_keeps_replaces_or_removes_them_and_a_regenerate_keeps_them(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        sent = await guest.send("look", attachments=[attachment()])
        await guest.completed(sent["turn"]["id"])
        first = sent["message"]

        async def edited(message: dict[str, Any], **fields: Any) -> dict[str, Any]:
            call = {
                "conversation_id": first["conversation_id"],
                "message_id": message["id"],
                "new_message_id": new_id(),
                "content": "look again",
                **fields,
            }
            answer = await guest.ok("message:edit", **call)
            again = await guest.ok("message:edit", **call)
            assert again["message"] == answer["message"]
            for other in ([attachment(JPEG, "image/jpeg")], [] if fields else [attachment()]):
                if other != fields.get("attachments"):
                    refused = await guest.refusal("message:edit", **call | {"attachments": other})
                    assert refused["code"] == "conflict"
            await guest.completed(answer["turn"]["id"])
            message = answer["message"]
            assert isinstance(message, dict)
            return message

        kept = await edited(first)
        assert kept["attachments"] == first["attachments"]
        replaced = await edited(kept, attachments=[attachment(GIF, "image/gif")])
        assert await fetched(guest, replaced) == GIF
        turn = (await guest.transcript(first["conversation_id"]))[-1]["turn_id"]
        again = await guest.ok(
            "turn:regenerate",
            conversation_id=first["conversation_id"],
            turn_id=turn,
            new_turn_id=new_id(),
        )
        await guest.completed(again["turn"]["id"])
        [question, _] = await guest.transcript(first["conversation_id"])
        assert question["attachments"] == replaced["attachments"]
        bare = await edited(question, attachments=[])
        assert "attachments" not in bare
        # What was replaced stays for as long as the conversation does.
        assert await fetched(guest, first) == png()


async def test_without_the_store_a_message_with_images_waits_and_leaves_no_trace(
    start_app: StartApp, settings: dict[str, str], own_mongod: Mongod, provider: Provider
) -> None:
    app = start_app(**settings)
    async with Client(app.url) as guest:
        first = {"message_id": new_id(), "content": "look", "attachments": [attachment()]}
        sent = await guest.ok("message:send", **first)
        await guest.completed(sent["turn"]["id"])
        conversation_id = sent["conversation_id"]
        own_mongod.kill()
        plain = await guest.send("plain", conversation_id)
        assert plain["durability"] == "spooled"
        await guest.completed(plain["turn"]["id"])
        shown = [m for m in provider.chats[-1].messages if m["role"] == "user"]
        assert [text_of(each) for each in shown] == ["look\n[image: png, 1 kB]", "plain"]
        # What was accepted before is known, with what came with it.
        again = await guest.ok("message:send", **first)
        assert again["message"] == sent["message"]
        other = first | {"attachments": [attachment(png(shade=1))]}
        assert (await guest.refusal("message:send", **other))["code"] == "conflict"
        calls = [
            {
                "message_id": new_id(),
                "content": "look",
                "attachments": [attachment(GIF, "image/gif")],
            }
            | fields
            for fields in ({"conversation_id": conversation_id}, {})
        ]
        for call in calls:
            error = await guest.refusal("message:send", **call)
            assert (error["code"], error["retryable"]) == ("unavailable", True)
        error = await guest.refusal(
            "attachment:get",
            conversation_id=conversation_id,
            attachment_id=sent["message"]["attachments"][0]["id"],
        )
        assert error["code"] == "unavailable"
        # What it has of the conversation still says what came with the question.
        assert (await guest.open(conversation_id))["messages"][0] == sent["message"]
        assert len(guest.all("conversation:created")) == 1
        own_mongod.start()
        for call in calls:

            async def taken(call: dict[str, Any] = call) -> bool:
                return bool((await guest.call("message:send", call))["ok"])

            await wait_until(taken, "the message is taken", timeout=20)
        messages = await guest.transcript(conversation_id)
        assert await fetched(guest, messages[0]) == png()
        context = await guest.ok(
            "turn:context", conversation_id=conversation_id, turn_id=plain["turn"]["id"]
        )
        assert context["context"]["left_out"] == ["images: unavailable"]
        contents = [each["content"] for each in messages if each["role"] == "user"]
        assert contents == ["look", "plain", "look"]


async def test_the_provider_is_sent_the_images_of_this_question_and_of_those_before(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        sent = await guest.send("look", attachments=[attachment(), attachment(GIF, "image/gif")])
        await guest.completed(sent["turn"]["id"])
        await guest.ask("and now?", sent["conversation_id"])
    data_url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    for chat, texts in zip(provider.chats, (["look"], ["look", "and now?"]), strict=True):
        questions = [each for each in chat.messages if each["role"] == "user"]
        assert [text_of(each) for each in questions] == texts
        assert images_of(questions[0])[0] == data_url
        assert images_of(questions[0])[1].startswith("data:image/gif;base64,")
        assert not any(images_of(each) for each in questions[1:])


async def test_a_question_with_an_image_is_answered_on_when_its_server_dies(
    two: tuple[App, App], provider: Provider
) -> None:
    here, there = two
    provider.respond = lambda body: Script(["words "] * 40, delay=0.1)
    async with Client(here.url) as guest, Client(there.url, guest.token) as across:
        sent = await guest.send("look", attachments=[attachment()])
        await across.open(sent["conversation_id"])
        await guest.next_event("turn:delta")
        here.kill()
        provider.respond = lambda body: Script(["seen"])
        assert (await across.completed(sent["turn"]["id"]))["message"]["content"] == "seen"
        assert await fetched(across, sent["message"]) == png()


async def test_an_agent_of_ones_own_is_given_them_too(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, AGENT="tests.support.agents:plain", TITLES="0"))
    async with Client(app.url) as guest:
        sent = await guest.send("look", attachments=[attachment()])
        await guest.completed(sent["turn"]["id"])
    assert len(images_of(provider.requests[-1].messages[-1])) == 1
