"""One conversation, the feed of one server, and the store, played by a test step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from embedded.store import EmbeddedStore
from memory.errors import Unavailable
from memory.records import Answer, Position, Question, Transcript, Turn
from server.feed.checkpoints import SoFar
from server.feed.feeds import Feeds
from server.feed.following import Opening
from tests.support.tab import Tab
from tests.support.wait import wait_until

USER, CONVERSATION = "user", "conversation"
LEASE_MS = 60_000


class GatedMemory:
    """Reads the store, each time at the moment that the test lets it."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        self.reached.set()
        await self.gate.wait()
        if self.away:
            raise Unavailable
        return await self._store.load(conversation_id, 1000)


class World:
    """One conversation, the feed of this server, and another server that writes to the store."""

    def __init__(self, store: EmbeddedStore, redis_url: str | None = None) -> None:
        self.store = store
        self.memory = GatedMemory(store)
        self.tabs = [Tab(f"tab {number}", USER) for number in range(3)]
        self.feeds = Feeds(
            self.deliver, store, self.memory, redis_url=redis_url, server="us", said=self.said
        )
        self.accepted = 0
        self.waiting: list[Turn] = []
        self.running: Turn | None = None
        self.index = 0
        self.elsewhere = False

    def said(self, turn_id: str) -> SoFar | None:
        turn = self.running
        if turn is None or turn.id != turn_id or self.elsewhere:
            return None
        return SoFar(turn.attempt, self.text, self.index, [], 0)

    @property
    def text(self) -> str:
        """What the running turn has said so far."""
        return "".join(f"{index} " for index in range(self.index))

    def deliver(self, event: str, payload: dict[str, Any], sids: list[str]) -> None:
        for tab in self.tabs:
            if tab.sid in sids:
                tab.hear(event, payload)

    def is_ours(self, turn_id: str) -> bool:
        mine = [*self.waiting, self.running] if self.running else self.waiting
        return not self.elsewhere and any(turn.id == turn_id for turn in mine)

    # What the turns do

    async def accept(self, *, announced: bool = True) -> None:
        self.accepted += 1
        n = self.accepted
        turn = Turn(
            id=f"turn {n}",
            conversation_id=CONVERSATION,
            user_id=USER,
            n=n,
            question=Question(message_id=f"message {n}", content=f"question {n}", created_at=n),
            digest="",
            accepted="queued",
            status="queued",
            owner="us",
            created_at=n,
        )
        async with self.feeds.announcing.holding(CONVERSATION):
            await self.store.turns.insert(turn, lease_ms=LEASE_MS)
            await self.store.conversations.touch(turn)
            if announced:
                self.feeds.created(turn)
                self.feeds.queued(turn)
        self.waiting.append(turn)

    async def start(self) -> None:
        if self.running is not None or not self.waiting:
            return
        claimed = await self.store.turns.claim(self.waiting[0], "us", lease_ms=LEASE_MS)
        assert claimed is not None
        del self.waiting[0]
        self.running, self.index = claimed, 0
        if not self.elsewhere:
            self.feeds.started(claimed)

    async def delta(self) -> None:
        if self.running is None:
            return
        if not self.elsewhere:
            self.feeds.delta(self.running, self.index, f"{self.index} ")
        self.index += 1

    async def end(self) -> None:
        if self.running is None:
            return
        turn = self.running
        text = self.text
        answer = Answer(
            message_id=f"answer {turn.n}", content=text, status="complete", created_at=turn.n
        )
        ended = await self.store.turns.finish(
            turn,
            "completed" if text else "stopped",
            answer if text else None,
        )
        assert ended is not None
        self.running = None
        if not self.elsewhere:
            await self.feeds.ended(ended)
        await self.store.turns.close(ended)

    # What a tab does

    async def open(self, tab: Tab, after: str | None) -> Opening:
        conversation = await self.store.conversations.get(CONVERSATION, USER)
        return await self.feeds.open(tab.connection, conversation, after)

    async def begin_open(self, tab: Tab, *, fresh: bool) -> None:
        """To its end, or to the gate where that is shut."""
        if tab.opening is not None:
            return
        after = None if fresh else tab.cursor
        self.memory.reached.clear()
        tab.opening = asyncio.create_task(self.open(tab, after))
        reached = asyncio.create_task(self.memory.reached.wait())
        await asyncio.wait({tab.opening, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if self.memory.gate.is_set():
            await asyncio.wait({tab.opening})

    async def end_open(self, tab: Tab, *, withdrawn: bool = False) -> None:
        if tab.opening is None:
            return
        if self.memory.gate.is_set():
            await asyncio.wait({tab.opening})
        if not tab.opening.done():
            return
        opening, tab.opening = tab.opening, None
        if opening.exception() is not None:
            return
        if withdrawn:
            opening.result().withdraw()
            return
        verdict = opening.result()
        if verdict.recovery == "snapshot":
            tab.show(verdict.shape())
        verdict.release()

    def leave(self, tab: Tab) -> None:
        if tab.opening is None:
            self.feeds.leave(tab.connection, CONVERSATION)

    async def look_elsewhere(self) -> None:
        for conversation_id in self.feeds.followed_elsewhere(self.is_ours):
            await self.feeds.catch_up(conversation_id, self.is_ours)

    async def settle(self) -> None:
        """Let everybody's opening end, and everybody open what is not open."""
        self.memory.away = False
        self.memory.gate.set()
        for tab in self.tabs:
            if tab.opening is not None:
                await asyncio.wait({tab.opening})
                await self.end_open(tab)

    async def quiet(self) -> None:
        """All that was told is in the log, and nothing has to be done about it."""
        feed = self.feeds._feeds.get(CONVERSATION)
        await wait_until(lambda: feed is None or not feed.is_busy, "the feed is at rest")

    async def truth(self) -> dict[int, str]:
        loaded = await self.store.load(CONVERSATION, 1000)
        return {each.seq or 0: str(each.content) for each in loaded.messages}


@asynccontextmanager
async def world(folder: Path, redis_url: str | None = None) -> AsyncIterator[World]:
    store = EmbeddedStore(folder / "store.db")
    await store.connect()
    try:
        await store.conversations.create(CONVERSATION, USER, "", digest=None, at=0)
        here = World(store, redis_url)
        await here.feeds.connect()
        try:
            yield here
        finally:
            await here.feeds.close()
    finally:
        await store.close()
