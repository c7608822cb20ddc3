"""A conversation as Markdown, free of I/O: for people, and for no way back.

What somebody said stands in a quotation: every line of it behind a mark of its own, so that nothing
in it (a heading, a fence, a rule) ends the quotation, or passes for a message.
"""

from __future__ import annotations

import re

from memory.records import Conversation, Message, Turn, messages_of
from server import shapes

WHO = {"human": "User", "ai": "Assistant"}
ENDED = {"stopped": " (stopped)", "interrupted": " (interrupted)"}

# What CommonMark takes for the end of a line, and no more.
_LINE = re.compile(r"\r\n|\r|\n")
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:])")


def head_text(conversation: Conversation) -> str:
    title = _inline(conversation.title) or "Conversation"
    chosen = [conversation.choice.model, conversation.choice.system_prompt]
    about = [f"Begun {_when(conversation.created_at)}", *(_inline(each) for each in chosen if each)]
    return f"# {title}\n\n{' · '.join(about)}\n"


def turn_text(turn: Turn) -> str:
    return "".join(_message(message) for message in messages_of(turn))


TAIL = ""


def _message(message: Message) -> str:
    who = WHO.get(message.type, "Assistant")
    heading = f"{who} · {_when(message.created_at)}{ENDED.get(message.status, '')}"
    said = "\n".join(f"> {line}".rstrip() for line in _LINE.split(str(message.content)))
    notes = [f"Image: {each.media_type}, {each.size} bytes" for each in message.attachments]
    if message.feedback is not None:
        thumb = "good" if message.feedback.value > 0 else "bad"
        comment = _inline(message.feedback.comment or "")
        notes.append(f"Feedback: {thumb}{': ' if comment else ''}{comment}")
    noted = "".join(f"\n*{each}*\n" for each in notes)
    return f"\n## {heading}\n\n{said}\n{noted}"


def _when(at: int) -> str:
    return f"{shapes.time_text(at)[:19].replace('T', ' ')} UTC"


def _inline(text: str) -> str:
    """One line in which no mark means anything."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
