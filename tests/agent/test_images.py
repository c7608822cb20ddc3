"""Images in a prompt: what the provider is sent of them over HTTP, and what stands in for the
rest."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from langchain_core.messages import HumanMessage

from agent.answering import AnswerRequest
from agent.demo_replies import reply_to
from agent.errors import ProviderRejected
from agent.images import EARLIER_IMAGES, Images, message_with_images
from agent.tokens import TOKENS_PER_IMAGE, TokenCounter
from memory.errors import Unavailable
from memory.records import Attachment, Message
from tests.agent.conftest import MakeAgent
from tests.agent.conversation import Conversation, answer, collect
from tests.support.pictures import png
from tests.support.provider import Provider, Script, images_of, text_of
from tests.support.wait import wait_until


class Pictures:
    """An ``agent.images.AttachmentSource`` over a dict, and how often it was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.away = False

    def add(self, shade: int, *, padding: int = 0) -> Attachment:
        data = png(shade=shade, padding=padding)
        self.kept[f"p{shade}"] = data
        return Attachment(id=f"p{shade}", type="image", media_type="image/png", size=len(data))

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None:
        self.asked.append(attachment_id)
        if self.away:
            raise Unavailable
        data = self.kept.get(attachment_id)
        if data is None:
            return None
        attachment = Attachment(
            id=attachment_id, type="image", media_type="image/png", size=len(data)
        )
        return attachment, data


def asking(conversation: Conversation, text: str, attachments: list[Attachment]) -> AnswerRequest:
    request = conversation.ask(text)
    asked = msgspec.structs.replace(request.question, attachments=attachments)
    conversation.messages[-1] = asked
    return msgspec.structs.replace(request, question=asked)


def exchange(conversation: Conversation, text: str, attachments: list[Attachment]) -> None:
    asking(conversation, text, attachments)
    conversation.messages.append(answer(conversation.turns, f"seen {text}"))


def url(shade: int) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(shade=shade)).decode()}"


async def context(agent: Any, request: AnswerRequest) -> dict[str, Any]:
    chunks = await collect(agent, request)
    return next(chunk.context for chunk in chunks if chunk.context is not None)


async def test_the_questions_images_are_sent_as_data_urls(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures)
    request = asking(conversation, "what is it?", [pictures.add(1), pictures.add(2)])
    assert (await context(agent, request))["left_out"] == []
    [system, asked] = provider.requests[-1].messages
    assert system["role"] == "system"
    assert asked["role"] == "user"
    assert [part["type"] for part in asked["content"]] == ["text", "image_url", "image_url"]
    assert text_of(asked) == "what is it?"
    assert images_of(asked) == [url(1), url(2)]


async def test_of_earlier_messages_the_latest_images_are_sent_and_the_others_named(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures, context_token_budget=50_000)
    for number in range(1, 5):
        both = [pictures.add(2 * number), pictures.add(2 * number + 1)]
        exchange(conversation, f"q{number}", both)
    conversation.exchange("plain", "yes")
    given = await context(agent, conversation.ask("and now?"))
    assert given["left_out"] == [f"images: all but the last {EARLIER_IMAGES}"]
    sent = [m for m in provider.requests[-1].messages if m["role"] == "user"]
    assert [images_of(each) for each in sent] == [
        [],
        [],
        [url(6), url(7)],
        [url(8), url(9)],
        [],
        [],
    ]
    named = pictures.add(2).stand_in
    assert text_of(sent[0]) == f"q1\n{named}\n{named}"
    assert named == "[image: png, 1 kB]"
    assert sorted(pictures.asked) == ["p6", "p7", "p8", "p9"]


async def test_without_images_nothing_is_asked_for_and_text_stays_text(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures)
    conversation.exchange("one", "two")
    await collect(agent, conversation.ask("three"))
    assert pictures.asked == []
    assert provider.requests[-1].texts[1:] == ["one", "two", "three"]


@pytest.mark.parametrize("reason", ["away", "gone"])
async def test_what_can_not_be_read_is_named_and_said_to_be_left_out(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider, reason: str
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures)
    picture = pictures.add(1, padding=34_000)
    pictures.away = reason == "away"
    if reason == "gone":
        pictures.kept.clear()
    given = await context(agent, asking(conversation, "what is it?", [picture]))
    assert given["left_out"] == ["images: unavailable"]
    assert provider.requests[-1].texts[-1] == "what is it?\n[image: png, 34 kB]"


async def test_an_image_costs_its_tokens_and_not_those_of_its_text(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures, context_token_budget=2 * TOKENS_PER_IMAGE + 500)
    large = pictures.add(1, padding=500_000)
    exchange(conversation, "first", [pictures.add(2)])
    exchange(conversation, "second", [pictures.add(3)])
    given = await context(agent, asking(conversation, "what is it?", [large]))
    assert TOKENS_PER_IMAGE < given["tokens"]["question"] < TOKENS_PER_IMAGE + 50
    # There is room for one more image, and not for the exchange before.
    sent = [m for m in provider.requests[-1].messages if m["role"] == "user"]
    assert [text_of(each) for each in sent] == ["second", "what is it?"]
    assert given["window"]["message_ids"] == ["q2", "a2"]


async def test_a_provider_that_takes_no_images_says_so_and_the_next_question_is_free_of_them(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures)

    def respond(body: dict[str, Any]) -> Script:
        if any(images_of(message) for message in body["messages"]):
            return Script(status=400, error_code="invalid_image", error_message="no images")
        return Script(["ok"])

    provider.respond = respond
    with pytest.raises(ProviderRejected):
        await collect(agent, asking(conversation, "what is it?", [pictures.add(1)]))
    assert len(provider.requests) == 1  # it would say so again
    chunks = await collect(agent, conversation.ask("never mind"))
    assert "".join(chunk.text for chunk in chunks) == "ok"


async def test_a_summary_names_images(
    make_agent: MakeAgent, conversation: Conversation, provider: Provider
) -> None:
    pictures = Pictures()
    agent = make_agent(attachments=pictures, summary_every_turns=1)
    exchange(conversation, "look here", [pictures.add(1)])
    await conversation.turn(agent, "and?")
    await wait_until(lambda: provider.summaries, "a summary is asked for")
    asked = text_of(provider.summaries[0].messages[-1])
    assert "look here\n[image: png, 1 kB]" in asked
    assert "base64" not in asked


def test_what_a_provider_reports_of_images_teaches_nothing_about_text() -> None:
    counter = TokenCounter()
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": "word " * 1_000}]
    counter.learn([HumanMessage(blocks)], 100_000)
    assert counter.ratio == 1.0


def test_the_demo_model_says_what_it_was_given() -> None:
    pictures = Pictures()
    picture = pictures.add(1)
    message = Message(id="q", type="human", content="what is it?", attachments=[picture])
    said = reply_to([message_with_images(message, Images(pictures.kept))])
    assert f"I was given an image (image/png, {picture.size} bytes)" in said
    assert "You said" in said
