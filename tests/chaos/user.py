"""A user: one tab that writes, one that mostly reads, and some conversations between them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from tests.chaos.evidence import Send
from tests.chaos.tab import GaveUp, Refused, Tab, ticks
from tests.support.client import new_id

WORDS = ("river", "lantern", "été", "stone", "paper", "雲", "garden", "north", "seven", "🙂")


class User:
    """``converse`` until ``until`` (monotonic seconds)."""

    def __init__(self, name: str, urls: Sequence[str], rng: random.Random) -> None:
        self.name = name
        self.writer = Tab(f"{name} writing", urls, random.Random(rng.random()))
        self.reader = Tab(f"{name} reading", urls, random.Random(rng.random()))
        self.sends: list[Send] = []
        self.stops: list[dict[str, Any]] = []
        self.conversations: list[str] = []
        self._rng = rng

    @property
    def tabs(self) -> tuple[Tab, Tab]:
        return self.writer, self.reader

    async def arrive(self) -> None:
        """Before the faults begin: a guest whose token was lost would be another guest."""
        await self.writer.connected()
        self.reader.token = self.writer.token
        await self.reader.connected()

    async def converse(self, count: int, until: float) -> list[str]:
        """In so many conversations at once; what went wrong."""
        seeds = [random.Random(self._rng.random()) for _ in range(count)]
        tasks = [self._conversation(rng, number, until) for number, rng in enumerate(seeds)]
        tasks.append(self._read(random.Random(self._rng.random()), until))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        mishaps = [result for result in results if isinstance(result, BaseException)]
        for mishap in mishaps:
            if not isinstance(mishap, GaveUp | Refused):
                raise mishap
        return [f"{type(mishap).__name__.lower()}: {mishap}" for mishap in mishaps]

    async def _conversation(self, rng: random.Random, number: int, until: float) -> None:
        written = 0

        def text() -> str:
            nonlocal written
            written += 1
            return f"{self.name}.{number}.{written} {' '.join(rng.sample(WORDS, 3))}"

        conversation_id = await self._begin(rng, text())
        self.conversations.append(conversation_id)
        await self.writer.follow(conversation_id)
        await self.reader.follow(conversation_id)
        while time.monotonic() < until:
            burst = [
                self._send(rng, text(), conversation_id)
                for _ in range(rng.choices((1, 2, 4), (6, 3, 1))[0])
            ]
            turns = [str(send.answer["turn"]["id"]) for send in await asyncio.gather(*burst)]
            if rng.random() < 0.1:
                await asyncio.sleep(rng.uniform(0, 0.6))
                await self._stop(conversation_id, rng.choice(turns))
            if rng.random() < 0.8:
                await self._wait_for(turns[-1], min(until, time.monotonic() + 4))
            await asyncio.sleep(rng.uniform(0, 0.4))

    async def _begin(self, rng: random.Random, text: str) -> str:
        """Either by a call of its own or by a first message."""
        if rng.random() < 0.5:
            chosen = new_id()
            await self.writer.call("conversation:create", conversation_id=chosen, title="chaos")
            return chosen
        return (await self._send(rng, text, None)).conversation_id

    async def _send(self, rng: random.Random, text: str, conversation_id: str | None) -> Send:
        """Returns when it is acknowledged."""
        send = Send(new_id(), text, next(ticks))
        self.sends.append(send)
        fields: dict[str, Any] = {"message_id": send.message_id, "content": text}
        if conversation_id is not None:
            fields["conversation_id"] = conversation_id
            if rng.random() < 0.04:
                fields["if_busy"] = "interrupt"
        tab = self.writer
        if conversation_id is not None and rng.random() < 0.15:
            tab = self.reader  # often on another server
        if rng.random() < 0.05:
            await self._send_at_once_from_both(send, fields)
            return send
        body, connection, send.tries = await tab.call("message:send", **fields)
        send.acknowledged, send.connection, send.answer = next(ticks), connection.number, body
        return send

    async def _send_at_once_from_both(self, send: Send, fields: dict[str, Any]) -> None:
        """One message on two connections is one message, and is answered alike."""
        answers = await asyncio.gather(*(tab.call("message:send", **fields) for tab in self.tabs))
        (send.answer, _, _), (other, _, _) = answers
        send.acknowledged, send.tries = next(ticks), 2
        if other != send.answer:
            raise Refused(f"{send.message_id} was answered with {send.answer}, and with {other}")

    async def _stop(self, conversation_id: str, turn_id: str) -> None:
        body, _, _ = await self.writer.call(
            "turn:stop", conversation_id=conversation_id, turn_id=turn_id
        )
        self.stops.append(body["turn"])

    async def _wait_for(self, turn_id: str, until: float) -> None:
        while turn_id not in self.writer.ended and time.monotonic() < until:
            await asyncio.sleep(0.05)

    async def _read(self, rng: random.Random, until: float) -> None:
        """The reader leaves a conversation and comes back to it with its cursor."""
        while time.monotonic() < until:
            await asyncio.sleep(rng.uniform(0.2, 2))
            if self.conversations:
                await self.reader.reopen(rng.choice(self.conversations))
