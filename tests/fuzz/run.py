"""One run: attackers beside an honest client, on one real server, and what was found."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
from socketio.exceptions import SocketIOError

from tests.fuzz import attacks, wire
from tests.support.app import App
from tests.support.client import Client
from tests.support.process import connections_of, resident_mb
from tests.support.provider import Provider
from tests.support.wait import wait_until

# By how often each is chosen.
ATTACKS: dict[str, tuple[attacks.Attack, int]] = {
    "hostile calls": (attacks.hostile_calls, 8),
    "calls at once": (attacks.calls_at_once, 2),
    "packets": (attacks.packets, 6),
    "connects": (attacks.connects, 2),
    "flood": (attacks.flood, 2),
    "never reads": (attacks.never_reads, 1),
    "tcp": (wire.tcp, 6),
    "polling": (wire.polling, 5),
    "http": (wire.http, 3),
}
AT_ONCE = 6

# Limits that would end an attack before it has begun; small messages, as those that are accepted
# are kept, and would be seen as growth. What waits for a CONNECT is to be gone by the end.
SETTINGS = {
    "RATE_LIMIT_CALLS_PER_MINUTE": "0",
    "RATE_LIMIT_MESSAGES_PER_MINUTE": "0",
    "MAX_CONNECTIONS_PER_USER": "0",
    "MAX_OPEN_CONVERSATIONS": "0",
    "MAX_MESSAGE_CHARS": "2000",
    "CONNECT_TIMEOUT_SECONDS": "3",
    "LOG_LEVEL": "debug",
}

HONEST_SECONDS = 10.0

# From the warm point to the end. Accepted messages are kept for a while (in feeds, for readers that
# come back), and the allocator keeps some pages: a run of a minute grows by less than half of this.
MAX_GROWTH_MB = 30.0

TROUBLE = re.compile(r"Traceback \(most recent|^\S+ (ERROR|CRITICAL)", re.MULTILINE)


@dataclass
class Outcome:
    seed: int
    attacks: Counter[str] = field(default_factory=Counter)
    served: int = 0
    """Questions of an honest client that were answered."""
    slowest: float = 0.0
    warm_mb: float = 0.0
    end_mb: float = 0.0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        did = ", ".join(f"{count} {name}" for name, count in sorted(self.attacks.items()))
        return "\n".join(
            [
                f"seed {self.seed}: {did or 'nothing'}",
                f"  an honest client was answered {self.served} times meanwhile, "
                f"at the slowest in {self.slowest:.2f} s",
                f"  memory {self.warm_mb:.1f} MB when warm, {self.end_mb:.1f} MB at the end",
                *(f"  FOUND {each}" for each in self.findings),
                "  nothing found" if not self.findings else f"  {len(self.findings)} findings",
            ]
        )


async def run(seed: int, *, seconds: float, only: int | None = None) -> Outcome:
    """``only``: just the attack of this number."""
    outcome = Outcome(seed)
    provider = Provider()
    await provider.start()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        app = App(
            Path(folder) / "data",
            OPENAI_API_KEY="test",
            OPENAI_BASE_URL=provider.base_url,
            OPENAI_MODEL="test-model",
            **SETTINGS,
        )
        with app:
            await attack(app, outcome, seconds, only)
            judge_log(app.output, outcome)
            if app.process is None or app.process.poll() is not None:
                outcome.findings.append("the server is gone")
    await provider.stop()
    return outcome


async def attack(app: App, outcome: Outcome, seconds: float, only: int | None) -> None:
    begun = time.monotonic()
    numbers = iter(range(10**9)) if only is None else iter([only])

    async def attacker() -> None:
        for number in numbers:
            await one(number, app.url, outcome)
            if time.monotonic() - begun > seconds:
                return

    async with Client(app.url) as honest:
        await honest.ask("before")
        asking = asyncio.create_task(keep_asking(honest, outcome))
        attackers = [asyncio.create_task(attacker()) for _ in range(AT_ONCE)]
        _, running = await asyncio.wait(attackers, timeout=seconds / 3)
        outcome.warm_mb = resident_mb(app)
        if running:
            await asyncio.wait(running)
        asking.cancel()
        await asyncio.wait([asking])
    try:
        # Half-finished websocket closes, and those that never said CONNECT.
        await wait_until(lambda: connections_of(app) == 0, "all sockets are closed", timeout=15)
    except AssertionError:
        outcome.findings.append(f"{connections_of(app)} connections are left over")
    try:
        # Those that polled, and went without a word, when they don't answer their ping.
        await wait_until(lambda: nobody_is_left(app), "nobody is left", timeout=60)
    except AssertionError:
        outcome.findings.append("some clients are left over in /metrics")
    outcome.end_mb = resident_mb(app)
    if outcome.end_mb - outcome.warm_mb > MAX_GROWTH_MB:
        outcome.findings.append("memory has grown")
    async with Client(app.url) as honest:
        answer = await honest.ask("after")
        if answer["message"]["content"] != "echo: after":
            outcome.findings.append("who is honest is not answered at the end")


async def one(number: int, url: str, outcome: Outcome) -> None:
    rng = Random(f"{outcome.seed}/{number}")
    name = rng.choices(list(ATTACKS), [weight for _, weight in ATTACKS.values()])[0]
    try:
        async with asyncio.timeout(60):
            findings = await ATTACKS[name][0](rng, url)
    except TimeoutError:
        findings = ["it did not end"]
    except (OSError, aiohttp.ClientError) as error:
        findings = [f"{type(error).__name__}: {error}"]
    outcome.attacks[name] += 1
    outcome.findings += [f"{name} (--only {number}): {each}" for each in findings]


async def keep_asking(honest: Client, outcome: Outcome) -> None:
    while True:
        begun = time.monotonic()
        text = f"question {outcome.served}"
        try:
            completed = await honest.ask(text, timeout=HONEST_SECONDS)
            if completed["message"]["content"] != f"echo: {text}":
                outcome.findings.append(f"who is honest was answered {completed!s:.200}")
        except (AssertionError, KeyError, OSError, SocketIOError) as error:
            outcome.findings.append(f"who is honest was not answered: {error!r:.200}")
            return
        outcome.slowest = max(outcome.slowest, time.monotonic() - begun)
        outcome.served += 1
        honest.events.clear()
        await asyncio.sleep(0.3)


def judge_log(log: str, outcome: Outcome) -> None:
    found = TROUBLE.search(log)
    if found:
        at = max(0, found.start() - 200)
        outcome.findings.append(f"in the log: {log[at : found.start() + 3000]}")


async def nobody_is_left(app: App) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}/metrics") as answer:
        return "mnemosio_connections 0.0" in (await answer.text()).splitlines()
