"""A user: some tabs, spread over the servers, and some conversations that all of them show."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from tests.chaos.evidence import Send
from tests.chaos.spooling import is_one_answer
from tests.chaos.tab import GaveUp, Refused, Tab, ticks
from tests.chaos.talk import Talk


class User:
    """``converse`` until ``until`` (monotonic seconds)."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        *,
        tabs: int,
        home: int,
        rng: random.Random,
        only_the_store_knows: asyncio.Lock,
    ) -> None:
        """Its first tab begins on the ``home``-th server, the others on those after it.
        ``only_the_store_knows`` is ``World``'s."""
        self.name = name
        self.only_the_store_knows = only_the_store_knows
        self.tabs = [
            Tab(f"{name} tab {number + 1}", urls, home + number, random.Random(rng.random()))
            for number in range(tabs)
        ]
        self.sends: list[Send] = []
        self.stops: list[dict[str, Any]] = []
        self.conversations: list[str] = []
        self._rng = rng

    @property
    def first(self) -> Tab:
        """The one that writes the most."""
        return self.tabs[0]

    async def arrive(self) -> None:
        """Before the faults begin: a guest whose token was lost would be another guest."""
        await self.first.connected()
        for tab in self.tabs[1:]:
            tab.token = self.first.token
        await asyncio.gather(*(tab.connected() for tab in self.tabs))

    async def converse(self, count: int, until: float) -> list[str]:
        """In so many conversations at once; what went wrong."""
        seeds = [random.Random(self._rng.random()) for _ in range(count)]
        tasks = [Talk(self, number, rng).go_on(until) for number, rng in enumerate(seeds)]
        for tab in self.tabs:
            tasks.append(self._wander(tab, random.Random(self._rng.random()), until))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        mishaps = [result for result in results if isinstance(result, BaseException)]
        for mishap in mishaps:
            if not isinstance(mishap, GaveUp | Refused):
                raise mishap
        return [f"{type(mishap).__name__.lower()}: {mishap}" for mishap in mishaps]

    def some_tab(self, rng: random.Random) -> Tab:
        return self.first if rng.random() < 0.7 else rng.choice(self.tabs)

    async def begin(self, send: Send, tab: Tab) -> Send:
        """Make the call; returns when it is acknowledged, or refused for good."""
        self.sends.append(send)
        send.tab = tab.name
        try:
            body, connection, send.tries = await tab.call(send.call, **send.fields)
        except Refused as refusal:
            self._bear(send, refusal)
        else:
            send.acknowledged, send.connection, send.answer = next(ticks), connection.number, body
        return send

    async def begin_on_all_tabs(self, send: Send) -> Send:
        """One message on several connections at once is one message, and is answered alike."""
        self.sends.append(send)
        calls = [tab.call(send.call, **send.fields) for tab in self.tabs]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        send.tries = len(answers)
        for answer in answers:
            if isinstance(answer, Refused):
                self._bear(send, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._compare(send, answer[0])
        return send

    async def repeat(self, send: Send, tab: Tab) -> None:
        """The same call some time later, as after a crash: it does nothing and is answered alike,
        whatever became of the message since."""
        body, _, _ = await tab.call(send.call, **send.fields)
        send.tries += 1
        self._compare(send, body)

    def _bear(self, send: Send, refusal: Refused) -> None:
        """What was rewritten can't be rewritten. Everything else must go."""
        if send.rewrites is None or refusal.code not in ("not_found", "conflict"):
            raise refusal
        if send.answer:
            raise Refused(f"{send} was answered before, and now refused: {refusal}")
        send.refused, send.acknowledged = refusal.code, next(ticks)

    def _compare(self, send: Send, answer: dict[str, Any]) -> None:
        if send.refused or (send.answer and not is_one_answer(send.answer, answer)):
            raise Refused(f"{send} is answered with {answer} now")
        if not send.answer:
            send.answer, send.acknowledged = answer, next(ticks)

    async def stop(self, conversation_id: str, turn_id: str, tab: Tab) -> None:
        body, _, _ = await tab.call("turn:stop", conversation_id=conversation_id, turn_id=turn_id)
        self.stops.append(body["turn"])

    async def _wander(self, tab: Tab, rng: random.Random, until: float) -> None:
        """A tab leaves a conversation and comes back to it with its cursor; or moves to another
        server with all that it shows."""
        while time.monotonic() < until:
            await asyncio.sleep(rng.uniform(0.2, 2) if tab is not self.first else rng.uniform(3, 9))
            if rng.random() < 0.3:
                await tab.move()
            elif self.conversations:
                await tab.reopen(rng.choice(self.conversations))
