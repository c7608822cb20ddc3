"""One run: play, heal, settle, gather the evidence, judge it."""

from __future__ import annotations

import asyncio
import pickle
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat

import redis

from memory import RedisConversationMemory
from memory.errors import NotFound
from mongo.store import MongoStore
from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, Kept
from tests.chaos.gathering import count, gather, shared_logs
from tests.chaos.model import answer_to
from tests.chaos.saboteur import Saboteur
from tests.chaos.tab import GaveUp
from tests.chaos.user import User
from tests.chaos.world import DATABASE, World
from tests.support.wait import wait_until

SETTLE_SECONDS = 60.0
QUIET_SECONDS = 6.0
"""A server that does not hear what the others say knows it within five."""
SHOWN_OF_A_KIND = 5
EVIDENCE = "evidence.pickle"
"""In a failed run's folder: to judge it once more, after the checker has been mended."""


@dataclass
class Outcome:
    seed: int
    findings: list[str]
    counts: Counter[str]
    faults: Counter[str]
    seconds: float
    folder: Path | None = None
    """Where its logs are, if it failed."""
    diary: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        for title, counter in (("counts", self.counts), ("faults", self.faults)):
            told = ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
            lines.append(f"  {title}: {told}")
        lines += [f"  WRONG  {finding[:600]}" for finding in self._some()]
        lines.append(f"  logs: {self.folder}" if self.folder else "  flawless")
        return "\n".join(lines)

    def _some(self) -> Iterator[str]:
        """The first of each kind, and how many more there are."""
        times: Counter[str] = Counter()
        for finding in self.findings:
            kind = finding.partition(":")[0]
            times[kind] += 1
            if times[kind] <= SHOWN_OF_A_KIND:
                yield finding
        for kind, number in times.items():
            if number > SHOWN_OF_A_KIND:
                yield f"{kind}: {number - SHOWN_OF_A_KIND} more"


async def run(
    seed: int,
    *,
    seconds: float,
    servers: int = 3,
    users: int = 4,
    tabs: int = 3,
    conversations: int = 2,
    calm: bool = False,
) -> Outcome:
    """Its logs stay in a folder of the temp directory if anything was wrong."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"mnemosio-chaos-{seed}-"))
    evidence = Evidence(answer_to, calm=calm)
    try:
        async with World(folder, servers) as world:
            rng = random.Random(seed)
            people = [
                User(
                    f"u{n}",
                    world.urls,
                    tabs=tabs,
                    home=n,
                    rng=random.Random(rng.random()),
                    only_the_store_knows=world.only_the_store_knows,
                )
                for n in range(users)
            ]
            saboteur = Saboteur(world, [tab for user in people for tab in user.tabs], seed)
            try:
                await _play(world, people, saboteur, evidence, seconds, conversations)
            finally:
                (folder / "faults.log").write_text("\n".join(saboteur.diary) + "\n")
                await asyncio.gather(*(tab.close() for user in people for tab in user.tabs))
    except BaseException as error:
        error.add_note(f"seed {seed}; the logs are in {folder}")
        raise
    findings = check(evidence)
    outcome = Outcome(
        seed, findings, count(evidence, people), saboteur.faults, time.monotonic() - started
    )
    if findings:
        outcome.folder = folder
        (folder / "findings.log").write_text("\n".join(findings) + "\n")
        (folder / "evidence.log").write_text(pformat(evidence, width=160))
        (folder / EVIDENCE).write_bytes(pickle.dumps(evidence))
        shutil.rmtree(folder / "mongod", ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


async def _play(
    world: World,
    people: list[User],
    saboteur: Saboteur,
    evidence: Evidence,
    seconds: float,
    conversations: int,
) -> None:
    await asyncio.gather(*(user.arrive() for user in people))
    evidence.began = time.monotonic()
    until = evidence.began + seconds
    for user in people:
        for tab in user.tabs:
            tab.deadline = until + SETTLE_SECONDS
    async with asyncio.TaskGroup() as playing:
        playing.create_task(saboteur.work(seconds, calm=evidence.calm))
        talks = [playing.create_task(user.converse(conversations, until)) for user in people]
    evidence.mishaps += saboteur.mishaps + [line for talk in talks for line in talk.result()]
    evidence.sends = [send for user in people for send in user.sends]
    evidence.faults = dict(saboteur.faults)
    evidence.stops = [stop for user in people for stop in user.stops]
    store = MongoStore(world.mongod.uri, DATABASE)
    await store.connect()
    memory = RedisConversationMemory(redis_url=world.redis.url, archive=store)
    await memory.connect()
    try:
        await _settle(world, store, people, evidence)
        evidence.shared = shared_logs(world, people)
        finishing = [tab.finish() for user in people for tab in user.tabs]
        results = await asyncio.gather(*finishing, return_exceptions=True)
        evidence.mishaps += [f"no end: {result!r}" for result in results if result is not None]
        for user in people:
            for conversation_id in user.conversations:
                try:
                    kept = await gather(world, store, memory, user, conversation_id)
                except NotFound:
                    kept = Kept(conversation_id, [], 0, [], [], 0)
                    evidence.mishaps.append(f"lost conversation: {conversation_id}")
                evidence.kept.append(kept)
    finally:
        await memory.close()
        await store.close()
    evidence.readers = {tab.name: tab.seen for user in people for tab in user.tabs}
    evidence.prompts = [request.messages for request in world.provider.chats]
    with redis.Redis(port=world.redis.port, decode_responses=True) as client:
        evidence.immortal = [key for key in client.scan_iter() if client.ttl(key) == -1]
    ends = await asyncio.gather(*(node.drain() for node in world.nodes))
    evidence.mishaps += [end for end in ends if end is not None]
    evidence.logs = {f"server {node.number}": node.app.output for node in world.nodes}


async def _settle(world: World, store: MongoStore, people: list[User], evidence: Evidence) -> None:
    """Every server is whole again, every turn has ended, and whoever is to be told has been."""

    async def all_whole() -> bool:
        return all(await asyncio.gather(*(node.is_whole() for node in world.nodes)))

    async def none_open() -> bool:
        for user in people:
            for conversation_id in user.conversations:
                if await store.turns.open_turns(conversation_id):
                    return False
        return True

    tabs = [tab for user in people for tab in user.tabs]
    told, since = 0, 0.0

    async def all_quiet() -> bool:
        nonlocal told, since
        await asyncio.gather(*(tab.connected() for tab in tabs))
        now = sum(len(tab.seen) for tab in tabs)
        if now != told:
            told, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    for what, condition, kind in (
        ("no server says that something is away", all_whole, "not healed"),
        ("all turns end", none_open, "no outcome"),
        ("nobody is told anything any more", all_quiet, "no end"),
    ):
        for tab in tabs:
            tab.deadline = time.monotonic() + 2 * SETTLE_SECONDS
        try:
            await wait_until(condition, what, timeout=SETTLE_SECONDS, interval=0.2)
        except (AssertionError, GaveUp) as error:
            evidence.mishaps.append(f"{kind}: {error}")
