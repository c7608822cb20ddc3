"""The server as a process, and users who read their answers at 50 tokens a second.

Beside it, in turns: nothing at all (the provider asked directly), a bare relay (floor_server.py),
and a chat server with everything left out (plain_server.py).
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.report import Floor, Missing, Row, against, compared
from benchmarks.servers import module, ours, pid_of, redis_server
from benchmarks.timing import cpu_seconds, in_turns, percentile, resident_bytes
from benchmarks.tokens import Received
from benchmarks.users import DirectUser, MnemosioUser, PlainUser, RelayUser, User

TOKENS_PER_SECOND = 50
IDLE_CLIENTS = 200
ROUNDS = 3
PATIENCE_SECONDS = 120.0
"""For all users' answers, which take a few seconds; more where a server is far from keeping up."""

NewUser = Callable[[aiohttp.ClientSession, int], User]


@dataclass(frozen=True)
class Target:
    name: str
    new_user: NewUser
    port: int
    pid: int | None = None
    """None where there is no server."""


@dataclass(frozen=True)
class Window:
    """What all users of one target saw in one round."""

    lags: list[float]
    firsts: list[float]
    cpu: float
    """Seconds the server used."""
    tokens: int
    wrong: int
    pace: float
    """1: the answers took as long as the provider took to say them."""


async def measure(long: bool) -> list[Row]:
    if sys.platform != "linux":
        raise Missing("what a process uses is read from Linux's /proc")
    levels, tokens = ((20, 50, 100, 200), 400) if long else ((20, 50), 150)
    rows: list[Row] = []
    async with targets(TOKENS_PER_SECOND) as here:
        rows.append(await _idle(here))
        for users in levels:
            windows = await chat(here, users=users, tokens=tokens, rounds=ROUNDS)
            rows += _rows(f"{users} users: ", windows)
    return rows


@asynccontextmanager
async def targets(tokens_per_second: float) -> AsyncIterator[list[Target]]:
    """The provider and all servers, running; ours first, the provider itself last."""
    async with AsyncExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mnemosio-bench-")))
        redis = running.enter_context(redis_server())
        provider = await running.enter_async_context(
            module("benchmarks.provider", str(tokens_per_second))
        )
        app = await ours(
            running,
            folder,
            REDIS_URL=redis.url,
            OPENAI_API_KEY="none",
            OPENAI_BASE_URL=f"http://127.0.0.1:{provider.port}/v1",
        )
        here = [Target("here", MnemosioUser, app.port, pid_of(app))]
        for name, file, user in (
            ("relay", "floor_server", RelayUser),
            ("plain server", "plain_server", PlainUser),
        ):
            server = await running.enter_async_context(
                module(f"benchmarks.{file}", str(provider.port))
            )
            here.append(Target(name, user, server.port, server.process.pid))
        yield [*here, Target("no server", DirectUser, provider.port)]


async def chat(
    targets: list[Target], *, users: int, tokens: int, rounds: int
) -> dict[str, list[Window]]:
    """Of each target a window a round."""
    windows: dict[str, list[Window]] = {target.name: [] for target in targets}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, AsyncExitStack() as connected:
        crowds = {}
        for target in targets:
            crowds[target.name] = await _connect(connected, session, target, users)
            # The first turn makes the conversation, and connections to the provider.
            await _answers(target, (user.ask(1) for user in crowds[target.name]))
        named = {target.name: target for target in targets}
        for _, name in in_turns(list(named), rounds):
            windows[name].append(await _window(named[name], crowds[name], tokens))
    return windows


async def _connect(
    connected: AsyncExitStack, session: aiohttp.ClientSession, target: Target, count: int
) -> list[User]:
    users = []
    for _ in range(count):
        user = target.new_user(session, target.port)
        await user.connect()
        connected.push_async_callback(user.close)
        users.append(user)
    return users


async def _window(target: Target, users: list[User], tokens: int) -> Window:
    """Each user asks once; the beginnings are spread over a second."""

    async def one(place: int, user: User) -> Received:
        await asyncio.sleep(place / len(users))
        return await user.ask(tokens)

    used = cpu_seconds(target.pid) if target.pid else 0.0
    answers = await _answers(target, (one(place, user) for place, user in enumerate(users)))
    ideal = max(1, tokens - 1) / TOKENS_PER_SECOND
    return Window(
        lags=[lag for answer in answers for lag in answer.lags],
        firsts=[answer.first_after for answer in answers],
        cpu=cpu_seconds(target.pid) - used if target.pid else 0.0,
        tokens=tokens * len(users),
        wrong=sum(answer.wrong for answer in answers),
        pace=median((answer.last_at - answer.first_at) / ideal for answer in answers),
    )


async def _answers(
    target: Target, asked: Iterable[Coroutine[None, None, Received]]
) -> list[Received]:
    """Raises ``AssertionError`` where they don't end."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.gather(*asked)
    except TimeoutError:
        raise AssertionError(f"{target.name}: the answers did not end") from None


async def _idle(targets: list[Target]) -> Row:
    """What a client costs that is connected and silent, on servers that have done nothing yet."""
    bytes_each = {}
    for target in targets:
        if target.pid is None:
            continue
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, AsyncExitStack() as some:
            await _connect(some, session, target, IDLE_CLIENTS // 4)
            before = resident_bytes(target.pid)
            await _connect(some, session, target, IDLE_CLIENTS)
            grown = resident_bytes(target.pid) - before
            bytes_each[target.name] = grown / IDLE_CLIENTS / 1000
    here = bytes_each.pop("here")
    floors = tuple(against(name, here, value) for name, value in bytes_each.items())
    return Row("memory for a silent client", "kB", here, floors)


def _rows(level: str, windows: dict[str, list[Window]]) -> list[Row]:
    def row(what: str, unit: str, figure: Callable[[Window], float]) -> Row:
        return compared(level + what, unit, windows, figure, "relay", "plain server")

    asked_directly = median(median(window.firsts) for window in windows["no server"])
    return [
        row("lag of a token, median", "ms", lambda w: 1e3 * median(w.lags)),
        row("lag of a token, p99", "ms", lambda w: 1e3 * percentile(w.lags, 99)),
        row(
            "first token later than without server",
            "ms",
            lambda w: 1e3 * (median(w.firsts) - asked_directly),
        ),
        row("server CPU for 1,000 tokens", "ms", lambda w: 1e6 * w.cpu / w.tokens),
        row("time for an answer, ideal is 1", "", lambda w: w.pace),
        _faults(level, windows),
    ]


def _faults(level: str, windows: dict[str, list[Window]]) -> Row:
    wrong = {name: sum(window.wrong for window in rounds) for name, rounds in windows.items()}
    tokens = sum(window.tokens for window in windows["here"])
    others = tuple(Floor(name, wrong[name], math.nan) for name in ("relay", "plain server"))
    what = f"{level}tokens lost or doubled of {tokens:,}"
    return Row(what, "", wrong["here"], others, is_fault=any(wrong.values()))
