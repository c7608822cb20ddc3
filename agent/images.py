"""The images of a conversation as a model is given them: read from the permanent store when there
is something to be asked about them, and nowhere kept.

The question's are always sent, and of those before it the latest few; what else there was is a line
of text in its message. So is what can't be read now: an answer without it is better than none.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from langchain_core.messages import BaseMessage

from agent.exchanges import exchanges_before
from agent.wording import sendable
from memory.chat_messages import to_langchain
from memory.errors import Unavailable
from memory.records import Attachment, Message, Transcript

log = logging.getLogger(__name__)

# Of the messages before the question. Each is sent, and paid for, with every question after it.
EARLIER_IMAGES = 4


class AttachmentSource(Protocol):
    """``stores.attachments.AttachmentStore``, as far as the agent needs it."""

    async def get(
        self, conversation_id: str, attachment_id: str
    ) -> tuple[Attachment, bytes] | None:
        """Raises memory's ``Unavailable``."""
        ...


class Images(msgspec.Struct, frozen=True):
    """What was read for one prompt."""

    data: Mapping[str, bytes] = {}
    """By the attachment's id."""
    unreadable: frozenset[str] = frozenset()
    """What should be there, and could not be read."""


NO_IMAGES = Images()


async def read_images(
    source: AttachmentSource | None,
    conversation_id: str,
    transcript: Transcript,
    question: Message,
) -> Images:
    """Those that the prompt for ``question`` may have. Asks for nothing where there are none."""
    wanted = [each.id for each in question.attachments]
    wanted += _latest(transcript, question)
    if not wanted or source is None:
        return NO_IMAGES
    wanted = list(dict.fromkeys(wanted))  # an edit may have kept what is there already
    found = await asyncio.gather(*(_read(source, conversation_id, each) for each in wanted))
    data = {each: bytes_ for each, bytes_ in zip(wanted, found, strict=True) if bytes_ is not None}
    return Images(data, frozenset(wanted) - data.keys())


def _latest(transcript: Transcript, question: Message) -> list[str]:
    """The latest images before the question, the last first."""
    found: list[str] = []
    for exchange in reversed(exchanges_before(transcript.messages, question)):
        for message in reversed(exchange):
            found += [each.id for each in reversed(message.attachments)]
        if len(found) >= EARLIER_IMAGES:
            break
    return found[:EARLIER_IMAGES]


async def _read(source: AttachmentSource, conversation_id: str, attachment_id: str) -> bytes | None:
    try:
        found = await source.get(conversation_id, attachment_id)
    except Unavailable:
        log.warning(
            "An image could not be read for a prompt.",
            extra={"action": "image_unavailable", "conversation_id": conversation_id},
        )
        return None
    return None if found is None else found[1]


def message_with_images(message: Message, images: Images = NO_IMAGES) -> BaseMessage:
    """As a model is sent it: text, with its images behind it where they were read."""
    sent = to_langchain(message)
    if isinstance(sent.content, str):
        sent.content = sendable(sent.content)
    if not message.attachments:
        return sent
    here = [each for each in message.attachments if each.id in images.data]
    missing = [each for each in message.attachments if each.id not in images.data]
    text = "\n".join([sent.text, *(each.stand_in for each in missing)])
    if not here:
        sent.content = text
        return sent
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": text}]
    blocks += [_block(each, images.data[each.id]) for each in here]
    sent.content = blocks
    return sent


def text_with_stand_ins(message: Message) -> str:
    """For who reads text only."""
    shown = [each.stand_in for each in message.attachments]
    return "\n".join([to_langchain(message).text.strip(), *shown])


def left_out(sent: list[Message], images: Images) -> list[str]:
    """What ``turn:context`` says of the images of these messages."""
    ids = {each.id for message in sent for each in message.attachments}
    reasons = []
    if ids & images.unreadable:
        reasons.append("images: unavailable")
    if ids - images.unreadable - images.data.keys():
        reasons.append(f"images: all but the last {EARLIER_IMAGES}")
    return reasons


def _block(attachment: Attachment, data: bytes) -> dict[str, Any]:
    """LangChain's content block: each provider's client makes its own form of it."""
    return {
        "type": "image",
        "base64": base64.b64encode(data).decode(),
        "mime_type": attachment.media_type,
    }
