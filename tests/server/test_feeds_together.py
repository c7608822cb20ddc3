"""Several servers on one Redis: whatever happens, all readers are told the same, and all of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis

from embedded.store import EmbeddedStore
from server.feed import feed, opening
from server.feed.keys import MAX_BYTES, feed_keys
from tests.support.feed_servers import CONVERSATION, SAID_EVERY, USER, Server, Together
from tests.support.folders import quick_folder
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.tab import Tab
from tests.support.wait import wait_until

QUIET = 5.0
"""Seconds between two looks of a server at the store, where nothing is broken."""
OFTEN = 0.15


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that another server is just about to tell is taken for lost on a slow machine."""
    monkeypatch.setattr(feed, "BEHIND_SECONDS", 15.0)
    monkeypatch.setattr(opening, "CATCH_UP_SECONDS", 15.0)


@asynccontextmanager
async def together(
    server: RedisServer, chance: random.Random, *, servers: int, keeps_up: float
) -> AsyncIterator[Together]:
    async with AsyncExitStack() as stack:
        store = EmbeddedStore(stack.enter_context(quick_folder()) / "store.db")
        await store.connect()
        stack.push_async_callback(store.close)
        await store.conversations.create(CONVERSATION, USER, "", digest=None, at=0)
        here = Together(store, chance)
        for number in range(servers):
            way = await stack.enter_async_context(RedisWay(server.port))
            one = Server(here, f"server {number}", way)
            await one.feeds.connect()
            stack.push_async_callback(one.feeds.close)
            here.servers.append(one)
            keeping_up = asyncio.create_task(one.keep_up(keeps_up))
            stack.push_async_callback(ended, keeping_up)
        stack.push_async_callback(here.close)
        yield here


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "what keeps feeds up has failed"


class Play:
    """Steps by chance, and what they did, for whoever reads of a failure."""

    TURNS = ("accept", "accept", "start", "start", *["say"] * 6, "end", "end")
    RARELY = ("take over", "edit", "regenerate", "stop waiting")
    TABS = ("open", "come back", "come back", "leave")

    def __init__(self, here: Together, chance: random.Random) -> None:
        self.here = here
        self.chance = chance
        self.steps: list[str] = []

    async def step(self, *more: str) -> None:
        kinds = [self.TURNS, self.TURNS, self.TURNS, self.TABS, self.RARELY]
        what = self.chance.choice(self.chance.choice([*kinds, more] if more else kinds))
        here = self.here
        server = self.chance.choice(here.servers)
        tab = self.chance.choice(here.tabs)
        self.steps.append(f"{what} ({server.name}, {tab.sid})")
        if what == "leave":
            here.leave(tab)
        elif what in ("open", "come back"):
            await here.open(tab, server, fresh=what == "open")
        elif what == "accept":
            here.start_work(here.accept(server))
        elif what == "say":
            await here.say()
        elif what == "end":
            await here.end()
        elif what in ("edit", "regenerate"):
            here.start_work(getattr(here, what)(server))
        else:
            await getattr(here, what.replace(" ", "_"))(server)
        await here.renew_leases()
        await asyncio.sleep(self.chance.choice((0, 0, 0.002, 0.01)))

    async def is_right(self) -> None:
        """Everybody comes to see all, in the middle of an answer and when all have ended."""
        here = self.here
        await here.worked()
        for tab in here.tabs:
            await self.is_open(tab)
        await self.is_seen_by_all("in the middle of it")
        while await here.store.turns.open_turns(CONVERSATION):
            await here.start(self.chance.choice(here.servers))
            await here.say()
            await here.end()
            await here.worked()
        await self.exchange()
        await self.is_seen_by_all("in the end")
        assert not here.wrong, "\n".join(here.wrong)

    async def exchange(self) -> None:
        """A question and its answer, on two servers."""
        await self.here.accept(self.here.servers[0])
        await self.here.start(self.here.servers[-1])
        await self.here.say()
        await self.here.end()
        await self.here.worked()

    async def comes_to_one_log(self) -> None:
        async def is_one() -> bool:
            await self.exchange()
            await self.is_seen_by_all("when all was over")
            return len({tab.cursor.partition("-")[0] for tab in self.here.tabs if tab.cursor}) == 1

        await wait_until(is_one, "all are told of one log again")

    async def is_open(self, tab: Tab) -> None:
        async def follows() -> bool:
            if not self.here.follows(tab):
                await self.here.open(tab, self.chance.choice(self.here.servers), fresh=False)
            return tab.opening is None and self.here.follows(tab)

        await wait_until(follows, f"{tab.sid} is on the feed", timeout=20)

    async def is_seen_by_all(self, when: str) -> None:
        async def all_see_it() -> bool:
            assert not self.here.wrong, "\n".join(self.here.wrong)
            return all([await self.here.sees_it_all(tab) for tab in self.here.tabs])

        await wait_until(all_see_it, f"all see all of it {when}", timeout=20)


# Nothing is broken


@pytest.mark.usefixtures("_patience")
@pytest.mark.parametrize("seed", range(6))
async def test_where_nothing_is_broken_nobody_is_told_anything_anew(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    async with together(redis_server, chance, servers=3, keeps_up=QUIET) as here:
        play = Play(here, chance)
        for _ in range(250):
            await play.step()
        await play.is_right()
        assert here.snapshots == 0, "a reader was told anew what it could be told by events"
        cursors = [cursor for tab in here.tabs for _, cursor in tab.told]
        assert len({cursor.partition("-")[0] for cursor in cursors}) == 1
    assert_nothing_died(caplog)


async def test_an_answer_whose_beginning_the_log_no_longer_keeps_is_shown_on_another_server(
    redis_server: RedisServer,
) -> None:
    chance = random.Random(0)
    async with together(redis_server, chance, servers=2, keeps_up=OFTEN) as here:
        play = Play(here, chance)
        ours, theirs = here.servers
        tabs = here.tabs[:2]
        await here.open(tabs[0], ours, fresh=True)
        await here.accept(ours)
        await here.start(ours)
        for _ in range(SAID_EVERY - 1):
            await here.say("x" * (MAX_BYTES // 5))
        await here.open(tabs[1], theirs, fresh=True)
        await here.worked()
        await here.say()
        for tab in here.tabs:
            await play.is_open(tab)
        await play.is_seen_by_all("in the middle of it")
        await here.end()
        await play.is_right()


def assert_nothing_died(caplog: pytest.LogCaptureFixture) -> None:
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, errors


# Everything is


class Saboteur:
    """Breaks Redis and the ways there; each fault ends by itself."""

    def __init__(self, here: Together, server: RedisServer, chance: random.Random) -> None:
        self._here = here
        self._server = server
        self._chance = chance
        self._restarting = False

    async def breaks(self, what: str) -> None:
        way = self._chance.choice(self._here.servers).way
        faults: dict[str, Callable[[], Awaitable[None]]] = {
            "empty": lambda: self._command("FLUSHALL"),
            "forget the scripts": lambda: self._command("SCRIPT", "FLUSH"),
            "lose the log": lambda: self._command("DEL", feed_keys(CONVERSATION).log),
            "poison": lambda: self._command("SET", feed_keys(CONVERSATION).log, "x", "EX", 60),
            "kill those who listen": lambda: self._command("CLIENT", "KILL", "TYPE", "pubsub"),
            "kill those who ask": lambda: self._command("CLIENT", "KILL", "TYPE", "normal"),
            "cut one off": lambda: self._for_a_while(way.cut, way.mend),
            "freeze one": lambda: self._for_a_while(way.freeze, way.thaw),
            "deafen one": lambda: self._for_a_while(
                lambda: way.freeze(subscriptions_only=True), way.thaw
            ),
            "kill Redis": self._restart,
        }
        await faults[what]()

    async def _command(self, *command: object) -> None:
        def send() -> None:
            with redis.Redis(port=self._server.port, socket_timeout=2, retry=None) as client:
                client.execute_command(*command)

        with contextlib.suppress(redis.ConnectionError):  # another fault has hit this one
            await asyncio.to_thread(send)

    async def _for_a_while(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        await asyncio.sleep(self._chance.choice((0.02, 0.2, 1.0, 2.0)))
        end()

    async def _restart(self) -> None:
        if self._restarting:
            return
        self._restarting = True
        self._server.kill()
        await asyncio.sleep(self._chance.choice((0, 0.3, 1.0)))
        await asyncio.to_thread(self._server.start)
        self._restarting = False


FAULTS = {
    "emptied": ("empty", "lose the log", "poison", "forget the scripts"),
    "cut": ("kill those who listen", "kill those who ask", "cut one off"),
    "silent": ("freeze one", "deafen one"),
    "killed": ("kill Redis",),
    "all": (
        *("empty", "kill those who listen", "kill those who ask", "cut one off"),
        *("freeze one", "deafen one", "kill Redis", "lose the log"),
    ),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", FAULTS)
async def test_all_readers_come_to_see_all_whatever_happens_to_redis(
    own_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    seed: int,
) -> None:
    chance = random.Random(f"{kind} {seed}")
    async with together(own_redis, chance, servers=3, keeps_up=OFTEN) as here:
        play = Play(here, chance)
        saboteur = Saboteur(here, own_redis, chance)
        for number in range(250):
            await play.step()
            if number % 25 == 10:
                fault = chance.choice(FAULTS[kind])
                play.steps.append(fault.upper())
                here.start_work(saboteur.breaks(fault))
        await here.worked()
        await wait_until(
            lambda: all(server.feeds.state == "shared" for server in here.servers),
            "all servers share their logs again",
            timeout=15,
        )
        await play.is_right()
        await play.comes_to_one_log()
        assert not here.wrong, "\n".join(here.wrong)
    assert_nothing_died(caplog)
