"""Whatever happens while somebody comes to a feed or goes: snapshot and events make the whole.

The feed and the store are real. The memory is the store too, behind a gate, so that the moment at
which a snapshot's messages are read can be chosen.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from embedded.store import EmbeddedStore
from memory.errors import Unavailable
from memory.records import Answer, Position, Question, Transcript, Turn
from server.connections import Connection
from server.feed.feeds import Feeds
from server.feed.following import Opening

USER, CONVERSATION = "user", "conversation"
LEASE_MS = 60_000
ENDS = ("turn:completed", "turn:stopped", "turn:failed")


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


class Tab:
    """A client that believes what it is told, and nothing else."""

    def __init__(self, number: int) -> None:
        self.connection = Connection(f"tab {number}", USER, guest=True)
        self.messages: dict[int, str] = {}
        self.turns: dict[str, tuple[str, int, str, int]] = {}
        self.cursor: str | None = None
        self.told: list[tuple[str, str]] = []
        self.opening: asyncio.Task[Opening] | None = None

    @property
    def sid(self) -> str:
        return self.connection.sid

    def show(self, snapshot: dict[str, Any]) -> None:
        self.messages = {each["seq"]: each["content"] for each in snapshot["messages"]}
        self.turns = {
            each["id"]: (each["status"], each["attempt"], each["text"], each["next_index"])
            for each in snapshot["turns"]
        }
        self.cursor = snapshot["cursor"]

    def hear(self, name: str, payload: dict[str, Any]) -> None:
        self.told.append((name, payload["cursor"]))
        if name == "conversation:snapshot":
            self.show(payload)
            return
        assert self.cursor is not None, "an event before any verdict"
        epoch, number = payload["cursor"].split("-")
        assert self.cursor == f"{epoch}-{int(number) - 1}", "a gap, a double or another order"
        self.cursor = payload["cursor"]
        turn_id = payload.get("turn_id", "")
        if name == "message:created":
            message = payload["message"]
            assert message["seq"] not in self.messages
            self.messages[message["seq"]] = message["content"]
            self.turns[message["turn_id"]] = ("queued", 0, "", 0)
        elif name == "turn:started":
            assert turn_id in self.turns
            self.turns[turn_id] = ("running", payload["attempt"], "", 0)
        elif name == "turn:delta":
            status, attempt, text, next_index = self.turns[turn_id]
            assert (status, attempt, next_index) == (
                "running",
                payload["attempt"],
                payload["index"],
            )
            self.turns[turn_id] = (status, attempt, text + payload["text"], next_index + 1)
        elif name in ENDS:
            _, _, text, _ = self.turns.pop(turn_id)
            if (message := payload["message"]) is not None:
                assert message["content"] == text, "the deltas joined are the answer"
                assert message["seq"] not in self.messages
                self.messages[message["seq"]] = message["content"]


class World:
    """One conversation, the feed of this server, and another server that writes to the store."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self.memory = GatedMemory(store)
        self.tabs = [Tab(number) for number in range(3)]
        self.feeds = Feeds(self.deliver, store, self.memory)
        self.accepted = 0
        self.waiting: list[Turn] = []
        self.running: Turn | None = None
        self.index = 0
        self.elsewhere = False

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
                await self.feeds.created(turn)
                await self.feeds.queued(turn)
        self.waiting.append(turn)

    async def start(self) -> None:
        if self.running is not None or not self.waiting:
            return
        claimed = await self.store.turns.claim(self.waiting[0], "us", lease_ms=LEASE_MS)
        assert claimed is not None
        del self.waiting[0]
        self.running, self.index = claimed, 0
        if not self.elsewhere:
            await self.feeds.started(claimed)

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
        text = "".join(f"{index} " for index in range(self.index))
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

    async def truth(self) -> dict[int, str]:
        loaded = await self.store.load(CONVERSATION, 1000)
        return {each.seq or 0: str(each.content) for each in loaded.messages}


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    store = EmbeddedStore(folder / "store.db")
    await store.connect()
    try:
        await store.conversations.create(CONVERSATION, USER, "", digest=None, at=0)
        yield World(store)
    finally:
        await store.close()


def run(play: Coroutine[Any, Any, None]) -> None:
    asyncio.run(play)


TAB_STEPS = ("open", "come back", "opened", "withdraw", "leave")
STEPS = st.one_of(
    st.sampled_from(["accept", "start", "delta", "delta", "end", "shut", "let", "look"]),
    st.tuples(st.sampled_from(TAB_STEPS), st.integers(0, 2)),
)
FOREIGN = st.sampled_from(["accept elsewhere", "go elsewhere", "lose memory"])


async def step(here: World, what: Any) -> None:
    if isinstance(what, tuple):
        name, number = what
        tab = here.tabs[number]
        if name in ("open", "come back"):
            await here.begin_open(tab, fresh=name == "open")
        elif name == "leave":
            here.leave(tab)
        else:
            await here.end_open(tab, withdrawn=name == "withdraw")
    elif what == "shut":
        here.memory.gate.clear()
    elif what == "let":
        here.memory.gate.set()
    elif what == "lose memory":
        here.memory.away = not here.memory.away
    elif what == "go elsewhere":
        # The turns that are open from here on are another server's: this one hears nothing.
        here.elsewhere = True
    elif what == "accept elsewhere":
        here.elsewhere = True
        await here.accept(announced=False)
    elif what == "look":
        if here.memory.gate.is_set() and not here.memory.away:
            await here.look_elsewhere()
    else:
        await getattr(here, what)()


@given(st.lists(STEPS, min_size=50, max_size=120))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_reader_sees_each_event_once_whenever_it_opens_closes_or_comes_back(
    steps: list[Any],
) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with world(Path(folder)) as here:
                for what in steps:
                    await step(here, what)
                await here.settle()
                truth = await here.truth()
                running = here.running
                for tab in here.tabs:
                    if CONVERSATION in tab.connection.following:
                        assert tab.messages == truth
                        if running is not None:
                            status, _, text, next_index = tab.turns[running.id]
                            assert status == "running"
                            assert next_index == here.index
                            assert text == "".join(f"{each} " for each in range(here.index))
                        assert len(tab.turns) == len(here.waiting) + (running is not None)
                told = [name for tab in here.tabs for name, _ in tab.told]
                assert "conversation:snapshot" not in told

    run(play())


@given(st.lists(st.one_of(STEPS, STEPS, FOREIGN), min_size=50, max_size=120))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_reader_is_never_left_behind_by_what_another_server_did(steps: list[Any]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with world(Path(folder)) as here:
                for what in steps:
                    # A log that lacks a turn is begun anew from memory, which must be there then.
                    if here.elsewhere and what in ("accept", "shut", "lose memory"):
                        continue
                    if what in ("go elsewhere", "accept elsewhere"):
                        await here.settle()
                    await step(here, what)
                await here.settle()
                await here.look_elsewhere()
                truth = await here.truth()
                for tab in here.tabs:
                    await here.begin_open(tab, fresh=False)
                await here.settle()
                for tab in here.tabs:
                    assert tab.messages == truth

    run(play())


async def test_a_failed_opening_leaves_who_was_on_the_feed_without_a_gap(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept()
        here.memory.gate.clear()
        here.memory.away = True
        await here.begin_open(tab, fresh=True)
        await here.start()
        await here.delta()
        here.memory.gate.set()
        assert tab.opening is not None
        with pytest.raises(Unavailable):
            await tab.opening
        await here.delta()
        await here.end()
        assert tab.messages == {1: "question 1", 2: "0 1 "}


async def test_a_turn_that_was_never_announced_is_shown_before_the_next(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept(announced=False)
        await here.accept()
        assert tab.messages == {1: "question 1", 3: "question 2"}
        for _ in range(2):
            await here.start()
            await here.delta()
            await here.end()
        assert tab.messages == await here.truth()
        assert len(tab.messages) == 4


async def test_a_new_log_goes_on_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.accept()
        await here.start()
        await here.delta()
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.feeds.renew(CONVERSATION)
        assert [name for name, _ in tab.told] == ["conversation:snapshot"]
        await here.delta()
        await here.end()
        assert tab.messages == {1: "question 1", 2: "0 1 "}


async def test_a_later_attempt_elsewhere_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.accept()
        await here.start()
        await here.delta()
        await here.begin_open(tab, fresh=True)
        await here.settle()
        assert here.running is not None
        await here.store.turns.release("us")
        taken = await here.store.turns.claim(here.running, "them", lease_ms=LEASE_MS)
        assert taken is not None
        here.elsewhere = True
        await here.look_elsewhere()
        assert tab.turns == {"turn 1": ("running", 2, "", 0)}
        here.running = replace(taken)
        await here.delta()
        await here.end()
        await here.look_elsewhere()
        assert (tab.messages, tab.turns) == (await here.truth(), {})


@pytest.mark.parametrize("also_run_elsewhere", [False, True])
async def test_what_ended_elsewhere_is_shown_before_a_later_turn_goes_on_here(
    tmp_path: Path, also_run_elsewhere: bool
) -> None:
    async with world(tmp_path) as here:
        tab = here.tabs[0]
        await here.begin_open(tab, fresh=True)
        await here.settle()
        await here.accept()
        await here.accept()
        here.elsewhere = True
        await here.start()
        await here.delta()
        await here.end()
        here.elsewhere = also_run_elsewhere  # then only its end is told here
        await here.start()
        await here.delta()
        here.elsewhere = False
        await here.end()
        assert (tab.messages, tab.turns) == (await here.truth(), {})
        # The cursor of such a log proves that nothing was missed.
        here.leave(tab)
        await here.begin_open(tab, fresh=False)
        await here.settle()
        assert (tab.messages, tab.turns) == (await here.truth(), {})
