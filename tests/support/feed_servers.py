"""One conversation on several servers that share a store and a Redis, played by chance.

Only the feeds are real, and the store. What the servers do about turns is done here, step by step
and in the order in which the real ones do it; Redis is reached by each server on a way of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

from embedded.store import EmbeddedStore
from memory.errors import Unavailable
from memory.records import (
    ENDED,
    Answer,
    Position,
    Question,
    ToolUse,
    Transcript,
    Turn,
    TurnStatus,
    current,
)
from server.feed.checkpoints import SoFar
from server.feed.feeds import Feeds
from server.feed.upkeep import Upkeep
from server.shapes import tool_shape
from tests.support.redis_way import RedisWay
from tests.support.tab import Tab
from tests.support.wait import wait_until

USER, CONVERSATION = "user", "conversation"
LEASE_MS = 60_000
SAID_EVERY = 8
USES_EVERY = 3
STATUSES: tuple[Literal["started", "finished"], ...] = ("started", "finished")


class Memory:
    """No cache: everything is read from the store."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    async def read(self, conversation_id: str, *, at_least: Position) -> Transcript:
        return await self._store.load(conversation_id, 1000)


class Voice:
    """Who answers a turn."""

    def __init__(self, server: Server, turn: Turn) -> None:
        self.server = server
        self.turn = turn
        self.pieces: list[str] = []
        self.uses: list[ToolUse] = []
        """As they were told, each twice."""
        self.is_over = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def holds(self) -> bool:
        return not self.is_over

    def is_stale(self) -> None:
        if not self.is_over:
            self.server.world.start_work(self._verify())

    async def _verify(self) -> None:
        """As ``Answering`` does where the log takes a run for one that is over."""
        turn = await self.server.world.store.turns.get(CONVERSATION, self.turn.id)
        as_held = ("running", self.turn.attempt, self.server.name, False)
        if turn is None or (turn.status, turn.attempt, turn.owner, turn.superseded) != as_held:
            self.is_over = True
        elif self.holds():
            with suppress(Unavailable):
                await self.server.feeds.renew(CONVERSATION)

    def say(self, more: str = "") -> None:
        # Of another length in each attempt: by that a log knows which one an end is of.
        more += "." * self.turn.attempt
        piece = f"{self.turn.n}.{self.turn.attempt}.{len(self.pieces)}{more} "
        self.pieces.append(piece)
        said = used = ""
        if len(self.pieces) % SAID_EVERY == 0:
            said, used = self.text, json.dumps(self.shown())
        self.server.feeds.delta(self.turn, len(self.pieces) - 1, piece, self, said, used=used)
        if len(self.pieces) % USES_EVERY == 0:
            self.use()

    def use(self) -> None:
        """A use of a tool begins, or the one that has begun ends."""
        number = len(self.uses)
        use = ToolUse(id=f"use {number // 2}", name="look", status=STATUSES[number % 2])
        self.uses.append(use)
        self.server.feeds.tool(self.turn, number, use, self)

    def shown(self) -> list[dict[str, Any]]:
        """What was told last of each."""
        return list({use.id: tool_shape(use) for use in self.uses}.values())


class Server:
    """One server's feeds, and whoever is connected to it."""

    def __init__(self, world: Together, name: str, way: RedisWay) -> None:
        self.world = world
        self.name = name
        self.way = way
        self.tabs: dict[str, Tab] = {}
        self.waiting: set[str] = set()
        self.rewriting: set[str] = set()
        """Turns that are kept here, and not announced yet."""
        self.feeds = Feeds(
            self._deliver,
            world.store,
            Memory(world.store),
            redis_url=way.url,
            server=name,
            said=self._said,
        )
        self.upkeep = Upkeep(
            self.feeds, self._is_ours, world.store.conversations.positions, gone=world.gone
        )

    def _deliver(self, event: str, payload: dict[str, Any], sids: list[str]) -> None:
        for sid in sids:
            if (tab := self.tabs.get(sid)) is not None:
                self.world.told(tab, event, payload)

    def _said(self, turn_id: str) -> SoFar | None:
        voice = self.world.voice
        if voice is None or voice.server is not self or voice.turn.id != turn_id:
            return None
        return SoFar(
            voice.turn.attempt, voice.text, len(voice.pieces), voice.shown(), len(voice.uses)
        )

    def _is_ours(self, turn_id: str) -> bool:
        return self._said(turn_id) is not None or turn_id in self.waiting

    async def keep_up(self, seconds: float) -> None:
        """What the real one does now and then, as often as a test needs it."""
        while True:
            await self.upkeep.compare()
            await self.upkeep.look_elsewhere()
            self.feeds.look_for_unheard()
            now = time.monotonic()
            self.feeds.let_go(now - 5, now - 0.5, self._is_ours)
            await asyncio.sleep(seconds)


class Together:
    """``chance`` decides what nobody has to decide otherwise: pauses, places, who does it."""

    def __init__(self, store: EmbeddedStore, chance: random.Random) -> None:
        self.store = store
        self.chance = chance
        self.servers: list[Server] = []
        self.tabs = [Tab(f"tab {number}", USER) for number in range(4)]
        self.at: dict[str, Server] = {}
        """Which server a tab is at, by its name."""
        self.voice: Voice | None = None
        self.accepted = 0
        self.wrong: list[str] = []
        self.snapshots = 0
        """Told to those who were on the feed, or had a cursor."""
        self._placing = asyncio.Lock()
        self._work: set[asyncio.Task[None]] = set()
        self._events: dict[str, tuple[str, dict[str, Any]]] = {}
        self._views: dict[str, Any] = {}

    # What is held against what

    def told(self, tab: Tab, event: str, payload: dict[str, Any]) -> None:
        before = tab.cursor
        try:
            tab.hear(event, payload)
        except (AssertionError, KeyError) as error:  # a feed would take it for its own
            self.wrong.append(f"{tab.sid} at {before} was told {event} {payload}: {error!r}")
            tab.cursor = payload["cursor"]
            return
        if event == "conversation:snapshot":
            self.snapshots += 1
        elif self._events.setdefault(payload["cursor"], (event, payload)) != (event, payload):
            there = self._events[payload["cursor"]]
            self.wrong.append(f"{tab.sid} was told {event} {payload} where others had {there}")
        self._compare(tab)

    def _compare(self, tab: Tab) -> None:
        """At one cursor everybody sees the same."""
        assert tab.cursor is not None
        running = sorted((key, turn) for key, turn in tab.turns.items() if turn[0] == "running")
        view = (sorted(tab.messages.items()), running)
        there = self._views.setdefault(tab.cursor, view)
        if there != view:
            self.wrong.append(f"{tab.sid} at {tab.cursor} sees {view} where others saw {there}")

    def gone(self, conversation_id: str) -> None:
        self.wrong.append(f"{conversation_id} was taken for deleted")

    # Work that goes on in the background

    def start_work(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._worked)
        return task

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.wrong.append(f"{task.get_coro()} failed: {error!r}")

    async def worked(self) -> None:
        await wait_until(lambda: not self._work, "all is done that was begun", timeout=30)

    async def close(self) -> None:
        """Whatever was begun and goes on, as when a test has failed."""
        work = list(self._work)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    def _pause(self) -> float:
        return self.chance.choice((0, 0, 0, 0.005, 0.03))

    # Turns

    async def accept(self, server: Server) -> None:
        async with server.feeds.announcing.holding(CONVERSATION):
            async with self._placing:
                last = await self.store.turns.last(CONVERSATION)
                turn = self._new_turn(server, last, place=last.place + 1 if last else 1)
                await self.store.turns.insert(turn, lease_ms=LEASE_MS)
            await self.store.conversations.touch(turn)
            await asyncio.sleep(self._pause())
            server.waiting.add(turn.id)
            server.feeds.created(turn)
            server.feeds.queued(turn)

    def _new_turn(self, server: Server, last: Turn | None, *, place: int, **fields: Any) -> Turn:
        self.accepted += 1
        name = self.accepted
        question = Question(message_id=f"m{name}", content=f"question {name}", created_at=name)
        return Turn(
            **{
                "id": f"turn {name}",
                "conversation_id": CONVERSATION,
                "user_id": USER,
                "n": last.n + 1 if last else 1,
                "place": place,
                "revision": last.revision if last else 0,
                "question": question,
                "digest": "",
                "accepted": "queued",
                "status": "queued",
                "owner": server.name,
                "created_at": name,
                **fields,
            }
        )

    async def start(self, server: Server) -> None:
        async with self._placing:
            open_turns = current(await self.store.turns.open_turns(CONVERSATION))
            if not open_turns or open_turns[0].status != "queued":
                return
            if open_turns[0].id in server.rewriting:
                return
            await self._claim(server, open_turns[0])

    async def _claim(self, server: Server, turn: Turn) -> None:
        claimed = await self.store.turns.claim(turn, server.name, lease_ms=LEASE_MS)
        if claimed is None:
            return
        for other in self.servers:
            other.waiting.discard(turn.id)
        self.voice = Voice(server, claimed)
        server.feeds.started(claimed, self.voice)

    async def take_over(self, server: Server) -> None:
        """The server that answers was silent for longer than its lease."""
        async with self._placing:
            voice = self.voice
            if voice is None or voice.server is server:
                return
            voice.is_over = True
            await self.store.turns.release(voice.server.name)
            held = await self.store.turns.get(CONVERSATION, voice.turn.id)
            if held is not None and held.status == "running" and not held.superseded:
                await self._claim(server, held)

    async def say(self, more: str = "") -> None:
        if self.voice is not None and self.voice.holds():
            self.voice.say(more)

    async def end(self, status: TurnStatus = "completed") -> None:
        voice, self.voice = self.voice, None
        if voice is None or not voice.holds():
            return
        turn, text = voice.turn, voice.text
        answer = Answer(
            message_id=f"answer to {turn.id}", content=text, status="complete", created_at=turn.n
        )
        end: TurnStatus = status if text else "stopped"
        ended = await self.store.turns.finish(turn, end, answer if text else None)
        if ended is None:
            voice.is_over = True
        else:
            self.start_work(self._conclude(voice.server, ended))

    async def stop_waiting(self, server: Server) -> None:
        waiting = [
            turn
            for turn in await self.store.turns.open_turns(CONVERSATION)
            if turn.status == "queued"
        ]
        if waiting:
            await self._stop(server, self.chance.choice(waiting))

    async def _stop(self, server: Server, turn: Turn) -> None:
        stopped = await self.store.turns.request_stop(CONVERSATION, turn.id)
        if stopped is not None and stopped.status in ENDED and stopped.open:
            self.start_work(self._conclude(server, stopped))

    async def _conclude(self, server: Server, turn: Turn) -> None:
        """Any server tells an end until it is told."""
        while True:
            try:
                async with server.feeds.announcing.holding(CONVERSATION):
                    await server.feeds.ended(turn)
                    await self.store.turns.close(turn)
                return
            except Unavailable:
                server = self.chance.choice(self.servers)
                await asyncio.sleep(0.1)

    # Edits and regenerates

    async def edit(self, server: Server) -> None:
        await self._rewrite(server, again=False)

    async def regenerate(self, server: Server) -> None:
        await self._rewrite(server, again=True)

    async def _rewrite(self, server: Server, *, again: bool) -> None:
        last = await self.store.turns.last(CONVERSATION)
        place = self.chance.randint(max(1, last.place - 3), last.place) if last else 0
        if self.chance.random() < 0.6:
            await self._stop_from(server, place)
        async with server.feeds.announcing.holding(CONVERSATION):
            async with self._placing:
                last = await self.store.turns.last(CONVERSATION)
                replaced = await self.store.turns.at_place(CONVERSATION, place)
                if last is None or replaced is None or (again and replaced.status not in ENDED):
                    return
                open_before = await self.store.turns.open_turns(CONVERSATION)
                fields: dict[str, Any] = {"revision": last.revision + 1, "rewrites": True}
                if again:
                    asked = replaced.question
                    fields["question"] = Question(
                        message_id=asked.message_id,
                        content=asked.content,
                        created_at=asked.created_at,
                        key=f"again {self.accepted + 1}",
                    )
                turn = self._new_turn(server, last, place=place, **fields)
                await self.store.turns.insert(turn, lease_ms=LEASE_MS)
                server.rewriting.add(turn.id)
                superseded = await self.store.turns.supersede(turn)
                conversation = await self.store.conversations.touch(turn)
            await asyncio.sleep(self._pause())
            were_open = {each.id for each in open_before}
            for each in superseded:
                if each.id in were_open:
                    self._lose(server, each)
                    server.feeds.superseded(each)
            server.feeds.rewritten(turn, superseded, answers=conversation.position.answers)
            server.rewriting.discard(turn.id)
            server.waiting.add(turn.id)
            server.feeds.queued(turn)

    async def _stop_from(self, server: Server, place: int) -> None:
        for turn in reversed(await self.store.turns.open_turns(CONVERSATION)):
            if turn.place >= place and turn.status == "queued":
                await self._stop(server, turn)
            elif turn.place >= place and self.voice is not None and self.voice.turn.id == turn.id:
                await self.end("stopped")

    def _lose(self, server: Server, turn: Turn) -> None:
        server.waiting.discard(turn.id)
        voice = self.voice
        if voice is not None and voice.server is server and voice.turn.id == turn.id:
            voice.is_over = True

    async def renew_leases(self) -> None:
        """A server that answers what was superseded finds out when it renews its lease."""
        voice = self.voice
        if voice is not None and voice.holds():
            held = await self.store.turns.get(CONVERSATION, voice.turn.id)
            if held is None or held.superseded:
                voice.is_over = True

    # Tabs

    async def open(self, tab: Tab, server: Server, *, fresh: bool) -> None:
        """As a new connection; on the one that it has where it only wants to be told anew."""
        if tab.opening is not None:
            return
        if self.at.get(tab.sid) is not server or not fresh:
            self.leave(tab)
        self.at[tab.sid] = server
        server.tabs[tab.sid] = tab
        after = None if fresh else tab.cursor
        tab.opening = self.start_work(self._opened(tab, server, after))

    async def _opened(self, tab: Tab, server: Server, after: str | None) -> None:
        try:
            conversation = await self.store.conversations.get(CONVERSATION, USER)
            opening = await server.feeds.open(tab.connection, conversation, after)
            if opening.recovery == "snapshot":
                self.snapshots += after is not None
                tab.show(opening.shape())
                self._compare(tab)
            opening.release()
        except Unavailable:
            return  # it tries again
        finally:
            tab.opening = None

    def leave(self, tab: Tab) -> None:
        server = self.at.get(tab.sid)
        if server is not None and tab.opening is None:
            server.feeds.leave(tab.connection, CONVERSATION)
            del server.tabs[tab.sid]
            del self.at[tab.sid]

    def follows(self, tab: Tab) -> bool:
        server = self.at.get(tab.sid)
        return server is not None and server.feeds.follows(tab.connection, CONVERSATION)

    # How it ends

    async def sees_it_all(self, tab: Tab) -> bool:
        """Whether it sees just what the store and the one who answers say."""
        loaded = await self.store.load(CONVERSATION, 1000)
        messages = {each.seq: each.content for each in loaded.messages}
        turns: dict[str, Any] = {}
        tools: dict[str, Any] = {}
        for turn in await self.store.turns.open_turns(CONVERSATION):
            if turn.status == "queued":
                turns[turn.id] = ("queued", 0, "", 0)
            elif turn.status == "running":
                voice = self.voice
                assert voice is not None
                turns[turn.id] = ("running", turn.attempt, voice.text, len(voice.pieces))
                if voice.uses:
                    tools[turn.id] = {use.id: use.status for use in voice.uses}
        return (tab.messages, tab.turns, tab.tools) == (messages, turns, tools)
