"""All the calls, put together from those who know the answers."""

from __future__ import annotations

from dataclasses import dataclass

from agent.finding import Finder
from server.attachments import Attachments
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
from server.deletion import Deletion
from server.edge.connections import Connections
from server.edge.rates import Rates
from server.erasing import Erasing
from server.facts import Facts
from server.feed.feeds import Feeds
from server.limits import Limits
from server.transfer.exporting import Exporting
from server.transfer.importing import Importing
from server.turns.acceptance import Acceptance, Memory
from server.turns.answering import Answering
from server.turns.budgets import Budgets
from server.turns.rewriting import Rewriting
from stores.contract import Store


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Who is asked by calls."""

    store: Store
    memory: Memory
    facts: Facts
    finder: Finder
    connections: Connections
    feeds: Feeds
    answering: Answering
    attachments: Attachments
    deletion: Deletion
    erasing: Erasing
    budgets: Budgets
    rates: Rates
    choices: Choices
    limits: Limits


class MessagePurse:
    """``toll.Purse``: what a message costs is a call, a message, and something left of the day."""

    def __init__(self, rates: Rates, budgets: Budgets) -> None:
        self._rates = rates
        self._budgets = budgets

    async def pay(self, user_id: str) -> None:
        await self._budgets.require(user_id)
        await self._rates.take(user_id, "calls", "messages")

    def give_back(self, user_id: str) -> None:
        self._rates.give_back(user_id, "calls", "messages")


def make_calls(parts: Parts, feedback: FeedbackCalls) -> Calls:
    """``feedback`` counts, and so is its maker's."""
    store, limits = parts.store, parts.limits

    async def pay_for_import(user_id: str) -> None:
        await parts.rates.take(user_id, "messages")

    purse = MessagePurse(parts.rates, parts.budgets)
    acceptance = Acceptance(
        conversations=store.conversations,
        turns=store.turns,
        attachments=parts.attachments,
        memory=parts.memory,
        feeds=parts.feeds,
        answering=parts.answering,
        max_waiting=limits.queued_turns,
        purse=purse,
    )
    rewriting = Rewriting(
        conversations=store.conversations,
        turns=store.turns,
        attachments=parts.attachments,
        memory=parts.memory,
        feeds=parts.feeds,
        answering=parts.answering,
        max_waiting=limits.queued_turns,
        purse=purse,
    )
    about_conversations = ConversationCalls(
        connections=parts.connections,
        conversations=store.conversations,
        turns=store.turns,
        deletion=parts.deletion,
        feeds=parts.feeds,
        choices=parts.choices,
    )
    about_messages = MessageCalls(
        connections=parts.connections,
        conversations=store.conversations,
        feeds=parts.feeds,
        attachments=parts.attachments,
        acceptance=acceptance,
        rewriting=rewriting,
        answering=parts.answering,
        max_message_chars=limits.message_chars,
    )
    searching = SearchCalls(conversations=store.conversations, finder=parts.finder)
    about_attachments = AttachmentCalls(
        conversations=store.conversations, attachments=parts.attachments
    )
    memories = MemoryCalls(parts.facts, store.facts)
    inspecting = InspectingCalls(conversations=store.conversations, turns=store.turns)
    about_usage = UsageCalls(
        conversations=store.conversations, usage=store.usage, budgets=parts.budgets
    )
    about_transfer = TransferCalls(
        connections=parts.connections,
        conversations=store.conversations,
        exporting=Exporting(store.turns),
        importing=Importing(
            conversations=store.conversations,
            turns=store.turns,
            memory=parts.memory,
            feeds=parts.feeds,
            choices=parts.choices,
            erasures=store.erasures,
        ),
        pay=pay_for_import,
        max_message_chars=limits.message_chars,
    )
    return Calls(
        parts.connections,
        parts.rates,
        about_conversations.handlers,
        about_messages.handlers,
        searching.handlers,
        about_attachments.handlers,
        inspecting.handlers,
        memories.handlers,
        feedback.handlers,
        about_usage.handlers,
        about_transfer.handlers,
        UserCalls(parts.erasing).handlers,
    )
