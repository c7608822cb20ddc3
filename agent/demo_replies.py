"""What the offline demo model says. Pure: messages in, text out.

A handful of patterns, enough to show that earlier messages, and the notes on those that no longer
fit, reach the model.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agent.wording import (
    FACTS_INSTRUCTIONS,
    FACTS_TAG,
    SUMMARISER_INSTRUCTIONS,
    SUMMARY_TAG,
    fenced,
)

INTRODUCTION = (
    "Hello! I'm the offline demo model built into this server: I know a few patterns and nothing "
    "about the world, but I do remember this conversation. Set OPENAI_API_KEY (or "
    "OPENAI_BASE_URL for a local provider) and restart to talk to a real model.\n\n"
)

_QUOTE_CHARS = 80
_QUOTES_KEPT = 12

_NAME = re.compile(
    r"\b(?:(?i:my name is|my name's|call me)\s+(?P<told>[^\W\d_][\w'-]*)"
    r"|(?i:i am|i'm|i’m)\s+(?P<capital>[A-Z][\w'-]+)(?=\s*(?:[.,!;]|$|and\b)))"
)
_LIKE = re.compile(r"(?i:\bi (?:really |also )?(?:like|love|enjoy)) +(?P<thing>[^.!?,;\n]{1,60})")
_NOT_A_NAME = frozenset({"a", "an", "the", "not", "what", "when", "later", "back", "if", "it"})

_NOTED_NAME = re.compile(r"\bname is ([^\W\d_][\w'-]*)", re.IGNORECASE)
_NOTED_LIKE = re.compile(r"\buser likes ([^.\n]+)")
_NOTED_FIRST = re.compile(r'The user first said: "(.*)"')
_NOTED_ALSO = re.compile(r'The user also said: "(.*)"')


@dataclass
class Known:
    """What can be told from the messages given. Of the present question only what it tells of the
    user: it was not said *before*."""

    name: str | None = None
    likes: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """The user's messages, verbatim."""
    notes: str = ""
    noted: list[str] = field(default_factory=list)
    """Quotes from the notes, oldest first."""
    answers: int = 0

    def learn_notes(self, notes: str) -> None:
        self.notes = notes
        self.name = next((name for name in _NOTED_NAME.findall(notes)), self.name)
        self._like(_NOTED_LIKE.findall(notes))
        self.noted = _NOTED_FIRST.findall(notes) + _NOTED_ALSO.findall(notes)

    def learn_about_the_user(self, facts: str) -> None:
        self.name = next(iter(_NOTED_NAME.findall(facts)), self.name)
        self._like(_NOTED_LIKE.findall(facts))

    def learn(self, text: str) -> None:
        self.learn_facts(text)
        self.said.append(text)

    def learn_facts(self, text: str) -> None:
        self.name = _name_in(text) or self.name
        self._like(match["thing"] for match in _LIKE.finditer(text))

    def _like(self, things: Iterable[str]) -> None:
        for thing in things:
            if thing.strip() and thing.strip() not in self.likes:
                self.likes.append(thing.strip())


def reply_to(messages: Sequence[BaseMessage]) -> str:
    if is_summary_request(messages):
        return _summary(messages[-1].text)
    if is_facts_request(messages):
        return _facts(messages[-1].text)
    known = Known()
    for message in messages[:-1]:
        if isinstance(message, SystemMessage):
            for tag, text in fenced(message.text):
                if tag == SUMMARY_TAG:
                    known.learn_notes(text)
                elif tag == FACTS_TAG:
                    known.learn_about_the_user(text)
        elif isinstance(message, HumanMessage):
            known.learn(message.text)
        elif isinstance(message, AIMessage):
            known.answers += 1
    question = messages[-1].text.strip() if messages else ""
    known.learn_facts(question)
    new = not known.answers and not known.notes
    shown = _shown(messages[-1]) if messages else ""
    return (INTRODUCTION if new else "") + shown + _answer(question, known)


def is_summary_request(messages: Sequence[BaseMessage]) -> bool:
    return _is_request(messages, SUMMARISER_INSTRUCTIONS)


def is_facts_request(messages: Sequence[BaseMessage]) -> bool:
    return _is_request(messages, FACTS_INSTRUCTIONS)


def _is_request(messages: Sequence[BaseMessage], instructions: str) -> bool:
    return (
        len(messages) > 1
        and isinstance(messages[0], SystemMessage)
        and messages[0].text.startswith(instructions)
    )


def _facts(material: str) -> str:
    """What the messages tell of the user, as JSON."""
    entries: list[dict[str, str | int | float]] = []
    named = 0
    for tag, text in fenced(material):
        kind, _, number = tag.rpartition("_")
        if kind == "fact":
            named = int(number) if _NOTED_NAME.search(text) else named
            continue
        said: dict[str, str | int | float] = {"confidence": 0.9, "message": int(number)}
        if name := _name_in(text):
            entry = {"do": "replace" if named else "add", "text": f"The user's name is {name}."}
            entries.append({**entry, "fact": named, **said})
        for like in _LIKE.finditer(text):
            entries.append(
                {"do": "add", "text": f"The user likes {like['thing'].strip()}.", **said}
            )
    return json.dumps({"facts": entries})


def _answer(question: str, known: Known) -> str:
    for pattern, answer in _PATTERNS:
        if pattern.search(question):
            return answer(known)
    if name := _name_in(question):
        return f"Nice to meet you, {name}. I'll remember your name: ask me for it any time."
    if like := _LIKE.search(question):
        return f"Noted: you like {like['thing'].strip()}. Ask me later what I remember."
    count = len(known.said) + 1
    return (
        f"You said: {_quote(question)} I can only play it back, but I was given "
        f"{_messages(count)} of yours in this conversation{_and_notes(known)}. "
        'Tell me your name or what you like, then ask "what do you remember?".'
    )


def _shown(question: BaseMessage) -> str:
    """What came with the question, by its kind and size: nobody here can see it."""
    if isinstance(question.content, str):
        return ""
    images = [
        f"{block['mime_type']}, {len(base64.b64decode(block['base64'])):,} bytes"
        for block in question.content
        if isinstance(block, dict) and block.get("type") == "image" and "base64" in block
    ]
    if not images:
        return ""
    what = "an image" if len(images) == 1 else f"{len(images)} images"
    return f"I was given {what} ({'; '.join(images)}), and can't see. "


def _tell_name(known: Known) -> str:
    if known.name is None:
        return "You haven't told me your name yet."
    return f"Your name is {known.name}."


def _tell_likes(known: Known) -> str:
    if not known.likes:
        return "You haven't told me yet what you like."
    return f"You like {_and(known.likes)}."


def _tell_first(known: Known) -> str:
    said = known.noted + known.said
    if not said:
        return "This is the first message of yours that I was given."
    return f"The first thing you said: {_quote(said[0])}"


def _tell_last(known: Known) -> str:
    said = known.noted + known.said
    if not said:
        return "You haven't said anything before this."
    return f"Before this you said: {_quote(said[-1])}"


def _tell_count(known: Known) -> str:
    return (
        f"With this one I was given {_messages(len(known.said) + 1)} of yours and "
        f"{known.answers} of my answers{_and_notes(known)}."
    )


def _tell_help(known: Known) -> str:
    return (
        'Tell me your name or what you like, then ask "what is my name?", "what do you remember?", '
        '"what did I say first?" or "how many messages?". Reload the page or restart the server in '
        "between: I am given the conversation all the same."
    )


def _tell_all(known: Known) -> str:
    if not (known.said or known.notes or known.name or known.likes):
        return "Nothing yet: this is where our conversation begins."
    lines = [f"{_tell_count(known)} What I remember:"]
    if known.name:
        lines.append(f"- your name is {known.name}")
    if known.likes:
        lines.append(f"- you like {_and(known.likes)}")
    said = known.noted[:1] + known.said if known.noted else known.said
    if said:
        lines.append(f"- the first thing you said: {_quote(said[0])}")
    if len(said) > 1:
        lines.append(f"- the last thing before this: {_quote(said[-1])}")
    return "\n".join(lines)


_SAY = "(?:say|ask|write|tell you)"

# The first that is found decides, so the narrower one stands before the wider.
_PATTERNS: list[tuple[re.Pattern[str], Callable[[Known], str]]] = [
    (re.compile(pattern, re.IGNORECASE), answer)
    for pattern, answer in (
        (r"\bwhat(?:'s|’s| is|s)? my name\b", _tell_name),
        (r"\bwho am i\b|\b(?:know|remember) my name\b", _tell_name),
        (r"\bwhat do i (?:like|love|enjoy)\b", _tell_likes),
        (rf"\bwhat did i {_SAY} first\b|\bmy first (?:message|question)", _tell_first),
        (rf"\bwhat did i (?:just )?{_SAY}\b|\bmy last (?:message|question)", _tell_last),
        (r"\bhow many messages\b", _tell_count),
        (r"^\W*help\W*$|\bwhat can (?:you|i) do\b", _tell_help),
        (r"\bdo you (?:still )?(?:remember|know about me)\b|\bsummari[sz]e\b", _tell_all),
    )
]


def _summary(material: str) -> str:
    """Notes made of the facts and of the user's own words, shortened."""
    known = Known()
    for tag, text in fenced(material):
        if tag == "notes":
            known.learn_notes(text)
        elif tag == "user":
            known.learn(text)
    said = [_shortened(text) for text in known.noted + known.said]
    lines = [f"The user's name is {known.name}."] if known.name else []
    lines += [f"The user likes {thing}." for thing in known.likes[-_QUOTES_KEPT:]]
    lines += [f'The user first said: "{text}"' for text in said[:1]]
    lines += [f'The user also said: "{text}"' for text in said[1:][-_QUOTES_KEPT:]]
    return "\n".join(lines) or "Nothing of note was said yet."


def _name_in(text: str) -> str | None:
    """The last name the text gives its writer."""
    names = [match["told"] or match["capital"] for match in _NAME.finditer(text)]
    return next((name for name in reversed(names) if name.lower() not in _NOT_A_NAME), None)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARS else line[: _QUOTE_CHARS - 1].rstrip() + "…"


def _quote(text: str) -> str:
    return f'"{_shortened(text)}"'


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _and_notes(known: Known) -> str:
    return ", and notes on what came before" if known.notes else ""


def _and(things: Sequence[str]) -> str:
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
