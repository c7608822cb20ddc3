"""One conversation in a real store, and what of it the agent would send for each question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from agent.finding import Finder
from agent.prompt import build_prompt
from agent.recall import Recall, Recalled, those_that_fit
from agent.tokens import TokenCounter
from benchmarks.recall.plain import PlainBM25
from memory.records import Answer, Message, Question, Transcript, Turn, messages_of
from server.settings import SYSTEM_PROMPT
from stores.contract import Store
from stores.words import COMMON, stem, terms_of
from tests.stores.samples import new_id

USER = "somebody"
WINDOW = 50
"""Messages: what memory keeps word for word (MEMORY_MAX_MESSAGES)."""
AT_ONCE = 250
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Wanted:
    """A question, and the messages that it needs: each a seq and what of its text must be there."""

    text: str
    needs: Sequence[tuple[int, str]]


@dataclass
class Found:
    """Shares of what was needed, a question each; and milliseconds."""

    window: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    search: list[float] = field(default_factory=list)
    """Had the search the whole budget for itself."""
    in_window: list[bool] = field(default_factory=list)
    """Whether all that was needed was in the window anyway."""
    shared: list[float] = field(default_factory=list)
    """What share of a question's telling words stands in what it needs."""
    ms: list[float] = field(default_factory=list)
    over_budget: int = 0

    def add(self, other: Found) -> None:
        for name in ("window", "plain", "sent", "search", "in_window", "shared", "ms"):
            getattr(self, name).extend(getattr(other, name))
        self.over_budget += other.over_budget

    def sent_beyond_window(self) -> list[float]:
        return [sent for sent, near in zip(self.sent, self.in_window, strict=True) if not near]


async def kept(store: Store, turns: Sequence[tuple[str, str]]) -> tuple[str, list[Turn]]:
    """A conversation of these turns, a day apart."""
    conversation_id = new_id()
    await store.conversations.create(conversation_id, USER, "", digest=None, at=1)
    made = [_turn(conversation_id, n, *texts) for n, texts in enumerate(turns, 1)]
    for first in range(0, len(made), AT_ONCE):
        some = made[first : first + AT_ONCE]
        await asyncio.gather(*(store.turns.insert(turn, lease_ms=0) for turn in some))
    await store.conversations.touch(made[-1])
    await store.turns.close(made[-1])
    return conversation_id, made


async def measured(
    store: Store,
    finder: Finder,
    conversation_id: str,
    turns: Sequence[Turn],
    questions: Sequence[Wanted],
    *,
    budget: int,
    baselines: bool = True,
) -> Found:
    found = Found()
    counter = TokenCounter()
    transcript = await store.load(conversation_id, WINDOW)
    messages = [message for turn in turns for message in messages_of(turn)]
    bm25 = PlainBM25([str(message.content) for message in messages]) if baselines else None
    texts = {message.seq: str(message.content) for message in messages}
    for wanted in questions:
        question = _asked(wanted.text, 2 * len(turns) + 1)
        began = time.perf_counter()
        prompt = _prompt(transcript, question, budget, counter)
        alone = prompt.given.window
        recalled: list[Recalled] = []
        if not prompt.given.is_whole:
            recalled = await Recall(finder).of(USER, conversation_id, question, prompt.given.window)
            prompt = _prompt(transcript, question, budget, counter, recalled)
        found.ms.append((time.perf_counter() - began) * 1_000)
        if recalled:
            fits = those_that_fit(recalled, budget, counter)
            found.search.append(_share(wanted, {each.seq: each.text for each in fits}))
        found.over_budget += counter.count(prompt.messages) > budget
        sent = {m.seq: str(m.content) for m in prompt.given.window}
        sent |= {each.seq: each.text for each in prompt.given.recalled}
        whole = "\n".join(str(message.content) for message in prompt.messages)
        assert all(text in whole for text in sent.values() if "&" not in text and "<" not in text)
        found.window.append(_share(wanted, {m.seq: str(m.content) for m in alone}))
        found.sent.append(_share(wanted, sent))
        found.in_window.append(found.window[-1] == 1.0)
        found.shared.append(_shared(wanted, texts))
        if bm25 is not None:
            found.plain.append(_share(wanted, _filled(bm25, messages, question, budget, counter)))
    return found


def _prompt(  # type: ignore[no-untyped-def]
    transcript: Transcript,
    question: Message,
    budget: int,
    counter: TokenCounter,
    recalled: Sequence[Recalled] = (),
):
    return build_prompt(
        transcript,
        question,
        system_prompt=SYSTEM_PROMPT,
        budget=budget,
        counter=counter,
        recalled=recalled,
    )


def _filled(
    bm25: PlainBM25,
    messages: Sequence[Message],
    question: Message,
    budget: int,
    counter: TokenCounter,
) -> dict[int | None, str]:
    """What plain BM25 would have sent in the same budget, had it all of it."""
    left = budget - counter.count_text(SYSTEM_PROMPT) - counter.count_text(str(question.content))
    sent: dict[int | None, str] = {}
    for index in bm25.ranked(str(question.content)):
        text = str(messages[index].content)
        costs = counter.count_text(text) + 4
        if costs > left:
            break
        left -= costs
        sent[messages[index].seq] = text
    return sent


def _share(wanted: Wanted, sent: dict[int | None, str]) -> float:
    there = sum(text in sent.get(seq, "") for seq, text in wanted.needs)
    return there / len(wanted.needs)


def _shared(wanted: Wanted, texts: dict[int | None, str]) -> float:
    common = {stem(word) for word in COMMON}
    asked = set(terms_of(wanted.text)) - common
    there = {term for seq, _ in wanted.needs for term in terms_of(texts.get(seq, ""))}
    return len(asked & there) / max(len(asked), 1)


def _asked(text: str, seq: int) -> Message:
    return Message(id="asked", seq=seq, type="human", content=text, created_at=seq * DAY_MS)


def _turn(conversation_id: str, n: int, question: str, answer: str) -> Turn:
    at = n * DAY_MS
    turn = Turn(
        id=new_id(),
        conversation_id=conversation_id,
        user_id=USER,
        n=n,
        question=Question(message_id=new_id(), content=question, created_at=at),
        digest="",
        accepted="running",
        status="completed",
        open=False,
        attempt=1,
        owner="bench:1",
        created_at=at,
        answers=n,
    )
    reply = Answer(message_id=new_id(), content=answer, status="complete", created_at=at)
    return msgspec.structs.replace(turn, answer=reply if answer else None)
