"""What a model is sent for one question. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from langchain_core.messages import BaseMessage, SystemMessage

from agent.context import Given
from agent.exchanges import Exchange, exchanges_before, is_answered, last_seq
from agent.images import NO_IMAGES, Images, left_out, message_with_images
from agent.recall import Recalled, lines, room_for, those_that_fit
from agent.tokens import TokenCounter
from agent.wording import (
    FACTS_PREAMBLE,
    FACTS_TAG,
    RECALLED_PREAMBLE,
    SUMMARY_PREAMBLE,
    SUMMARY_TAG,
    fence,
    sendable,
)
from memory.facts import Fact
from memory.records import Message, Summary, Transcript

# Of what system prompt, summary and question leave, recalled messages get so much at most; the
# latest exchanges, which a question is most often about, keep the rest.
RECALLED_SHARE = 0.6


class Prompt(NamedTuple):
    messages: list[BaseMessage]
    given: Given
    """What they were made of."""


def build_prompt(
    transcript: Transcript,
    question: Message,
    *,
    system_prompt: str,
    budget: int,
    counter: TokenCounter,
    images: Images = NO_IMAGES,
    facts: Sequence[Fact] = (),
    facts_budget: int = 0,
    recalled: Sequence[Recalled] = (),
) -> Prompt:
    """System prompt with facts about the user, the summary and what was recalled, the answered
    exchanges before ``question``, the question.

    ``budget`` is in tokens. System prompt and question are sent whatever they cost; then those of
    the ``facts``, in their order, that fit into ``facts_budget`` and a quarter of the budget; then
    the summary, then exchanges from the newest backwards, without a gap, while they fit. Exchanges
    that the summary covers may fill the prompt to half the budget only: they help a short
    conversation to stay verbatim, and a long one shouldn't pay for them twice.

    ``recalled`` has earlier messages, best first. What of them is older than those exchanges is
    sent in its order, as much as fits; for that the exchanges leave room.
    """
    asked = message_with_images(question, images)
    system = _system(system_prompt)
    given = Given(system_prompt=system_prompt, budget=budget, tokens={})
    given.tokens["system"] = counter.count(system)
    given.tokens["question"] = counter.count([asked])
    spent = sum(given.tokens.values())

    if facts:
        room = min(facts_budget, budget // 4, budget - spent)
        given.facts = _fitting(facts, room, counter)
        with_facts = _system(system_prompt, given.facts)
        given.tokens["facts"] = counter.count(with_facts) - given.tokens["system"]
        system, spent = with_facts, spent + given.tokens["facts"]
        if not given.facts:
            given.left_out.append("facts: no room")

    summary = transcript.summary
    if summary is not None:
        with_summary = _system(system_prompt, given.facts, summary)
        costs = counter.count(with_summary) - counter.count(system)
        if spent + costs <= budget:
            system, given.summary, given.tokens["summary"] = with_summary, summary, costs
            spent += costs
        else:
            given.left_out.append("summary: no room")

    exchanges = _exchanges(transcript, question, images, counter)
    window = Window(exchanges, given.summary, budget)
    chosen = window.within(spent, spent)
    if recalled:
        most = int((budget - spent) * RECALLED_SHARE)
        # What is in the window needs no room of its own, so there is more of that.
        room = room_for(_older(recalled, chosen), counter)
        chosen = window.within(spent, spent + min(room, most))
        left = budget - spent - sum(each.costs for each in chosen)
        given.recalled = those_that_fit(_older(recalled, chosen), left, counter)
        if given.recalled:
            plain = counter.count(system)
            system = _system(system_prompt, given.facts, given.summary, given.recalled)
            given.tokens["recalled"] = counter.count(system) - plain
    given.tokens["window"] = sum(each.costs for each in chosen)
    given.window = [message for each in chosen for message in each.exchange]
    given.left_out += left_out([*given.window, question], images)
    sent = [message for each in chosen for message in each.messages]
    first = transcript.messages[0].seq if transcript.messages else None
    given.is_whole = len(chosen) == len(exchanges) and first in (None, 1)
    return Prompt([*system, *sent, asked], given)


class Costed(NamedTuple):
    exchange: Exchange
    messages: list[BaseMessage]
    costs: int


class Window(NamedTuple):
    exchanges: list[Costed]
    """Ascending."""
    summary: Summary | None
    budget: int

    def within(self, spent: int, kept: int) -> list[Costed]:
        """The last of them that fit, where ``spent`` is spent already, and so much ``kept`` free
        that ``kept`` would be."""
        chosen: list[Costed] = []
        for each in reversed(self.exchanges):
            most = self.budget // 2 if _covered(each.exchange, self.summary) else self.budget
            if spent + each.costs > most or kept + each.costs > self.budget:
                break
            spent += each.costs
            kept += each.costs
            chosen.append(each)
        return chosen[::-1]


def _exchanges(
    transcript: Transcript, question: Message, images: Images, counter: TokenCounter
) -> list[Costed]:
    found = []
    for exchange in exchanges_before(transcript.messages, question):
        messages = [message_with_images(message, images) for message in exchange]
        if is_answered(messages):
            found.append(Costed(exchange, messages, counter.count(messages)))
    return found


def _older(recalled: Sequence[Recalled], window: Sequence[Costed]) -> list[Recalled]:
    """Those that stand before the window."""
    first = window[0].exchange[0].seq if window else None
    return [each for each in recalled if first is None or each.seq < first]


def _system(
    system_prompt: str,
    facts: Sequence[Fact] = (),
    summary: Summary | None = None,
    recalled: Sequence[Recalled] = (),
) -> list[BaseMessage]:
    """One message, because some models' templates accept a system message at the start only."""
    parts = [system_prompt] if system_prompt else []
    if facts:
        parts.append(_about_the_user(facts))
    if summary is not None and summary.text:
        parts.append(f"{SUMMARY_PREAMBLE}\n{fence(SUMMARY_TAG, summary.text)}")
    if recalled:
        parts.append(f"{RECALLED_PREAMBLE}\n{lines(recalled)}")
    return [SystemMessage(sendable("\n\n".join(parts)))] if parts else []


def _about_the_user(facts: Sequence[Fact]) -> str:
    lines = "\n".join(f"- {fact.text} ({_day(fact.updated_at)})" for fact in facts)
    return f"{FACTS_PREAMBLE}\n{fence(FACTS_TAG, lines)}"


def _fitting(facts: Sequence[Fact], room: int, counter: TokenCounter) -> list[Fact]:
    """The first of them that fit, together with what is said about them."""

    def costs(number: int) -> int:
        return counter.count([SystemMessage(_about_the_user(facts[:number]))])

    # The more, the longer: so a few looks find how many.
    return list(facts[: bisect_right(range(1, len(facts) + 1), room, key=costs)])


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).date().isoformat()


def _covered(exchange: Exchange, summary: Summary | None) -> bool:
    seq = last_seq(exchange)
    return summary is not None and seq is not None and seq <= summary.upto
