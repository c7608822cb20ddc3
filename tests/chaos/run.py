"""One run: play, heal, settle, gather the evidence, judge it."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat

import redis

from memory import RedisConversationMemory
from memory.errors import NotFound
from memory.records import Message, Turn, answer_of, question_of
from mongo.documents import turn_record
from mongo.store import MongoStore
from server.protocol import message_shape
from tests.chaos.checker import LATEST, check
from tests.chaos.evidence import Evidence, Kept, KeptTurn, Shape
from tests.chaos.model import answer_to
from tests.chaos.saboteur import Saboteur
from tests.chaos.user import User
from tests.chaos.world import DATABASE, World
from tests.support.wait import wait_until

SETTLE_SECONDS = 60.0
QUIET_SECONDS = 6.0
"""A server that does not hear what the others say knows it within five."""


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
        lines += [f"  WRONG  {finding[:600]}" for finding in self.findings]
        lines.append(f"  logs: {self.folder}" if self.folder else "  flawless")
        return "\n".join(lines)


async def run(
    seed: int,
    *,
    seconds: float,
    servers: int = 3,
    users: int = 4,
    tabs: int = 3,
    conversations: int = 2,
    calm: bool = False,
    events_cross_servers: bool = False,
) -> Outcome:
    """Its logs stay in a folder of the temp directory if anything was wrong."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"mnemosio-chaos-{seed}-"))
    evidence = Evidence(answer_to, calm=calm)
    try:
        async with World(folder, servers) as world:
            rng = random.Random(seed)
            people = [
                User(f"u{n}", world.urls, tabs=tabs, home=n, rng=random.Random(rng.random()))
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
    findings = check(evidence, events_cross_servers=events_cross_servers)
    outcome = Outcome(
        seed, findings, _counts(evidence, people), saboteur.faults, time.monotonic() - started
    )
    if findings:
        outcome.folder = folder
        (folder / "findings.log").write_text("\n".join(findings) + "\n")
        (folder / "evidence.log").write_text(pformat(evidence, width=160))
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
    until = time.monotonic() + seconds
    for user in people:
        for tab in user.tabs:
            tab.deadline = until + SETTLE_SECONDS
    async with asyncio.TaskGroup() as playing:
        playing.create_task(saboteur.work(seconds, calm=evidence.calm))
        talks = [playing.create_task(user.converse(conversations, until)) for user in people]
    evidence.mishaps += saboteur.mishaps + [line for talk in talks for line in talk.result()]
    evidence.sends = [send for user in people for send in user.sends]
    evidence.stops = [stop for user in people for stop in user.stops]
    store = MongoStore(world.mongod.uri, DATABASE)
    await store.connect()
    memory = RedisConversationMemory(redis_url=world.redis.url, archive=store)
    await memory.connect()
    try:
        await _settle(world, store, people, evidence)
        tabs = [tab for user in people for tab in user.tabs]
        for tab in tabs:
            tab.deadline = time.monotonic() + SETTLE_SECONDS
        finishing = [tab.finish() for tab in tabs]
        results = await asyncio.gather(*finishing, return_exceptions=True)
        evidence.mishaps += [f"no end: {result!r}" for result in results if result is not None]
        for user in people:
            for conversation_id in user.conversations:
                try:
                    kept = await _kept(world, store, memory, user, conversation_id)
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

    told = 0
    since = time.monotonic()

    def all_quiet() -> bool:
        nonlocal told, since
        now = sum(len(tab.seen) for user in people for tab in user.tabs)
        if now != told:
            told, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    for what, condition, kind in (
        ("no server says that something is away", all_whole, "not healed"),
        ("all turns end", none_open, "no outcome"),
        ("nobody is told anything any more", all_quiet, "no end"),
    ):
        try:
            await wait_until(condition, what, timeout=SETTLE_SECONDS, interval=0.2)
        except AssertionError as error:
            evidence.mishaps.append(f"{kind}: {error}")


async def _kept(
    world: World,
    store: MongoStore,
    memory: RedisConversationMemory,
    user: User,
    conversation_id: str,
) -> Kept:
    turns = _all_turns(world, conversation_id)
    user_id = turns[0].user_id if turns else ""
    standing = await store.load(conversation_id, 1)
    position = standing.position
    kept = Kept(
        id=conversation_id,
        turns=[_kept_turn(turn) for turn in turns],
        count=(await store.conversations.get(conversation_id, user_id)).message_count,
        history=await _history(user, conversation_id),
        remembered=[],
        counted=None,
        notes=standing.summary.text if standing.summary else "",
    )
    right = [message["id"] for message in kept.messages][-LATEST:]
    shown: list[Message] = []

    async def agrees() -> bool:
        """A server that saw an outage may still be deleting what it could not bring up to date."""
        nonlocal shown
        transcript = await memory.read(conversation_id, at_least=position)
        shown = transcript.messages
        kept.remembered_notes = transcript.summary.text if transcript.summary else ""
        with redis.Redis(port=world.redis.port) as client:
            counter = client.get(f"conversation:turns:{conversation_id}")
        kept.counted = None if counter is None else int(counter)
        return [message.id for message in shown] == right and kept.counted == position.answers

    with suppress(AssertionError):  # the checker says what differs
        await wait_until(agrees, "the memory agrees", timeout=10, interval=0.2)
    kept.remembered = [message_shape(conversation_id, message) for message in shown]
    return kept


def _all_turns(world: World, conversation_id: str) -> list[Turn]:
    """Also those that were superseded, which nobody is shown any more."""
    with world.mongod.client() as client:
        found = client[DATABASE]["turns"].find({"conversation": conversation_id}).sort("n")
        return [turn_record(document) for document in found]


def _kept_turn(turn: Turn) -> KeptTurn:
    answer = answer_of(turn)
    return KeptTurn(
        id=turn.id,
        n=turn.n,
        place=turn.place,
        status=turn.status,
        open=turn.open,
        attempt=turn.attempt,
        question=message_shape(turn.conversation_id, question_of(turn)),
        answer=None if answer is None else message_shape(turn.conversation_id, answer),
        revision=turn.revision,
        rewrites=turn.rewrites,
        asks=turn.question.key is None,
        superseded=turn.superseded,
    )


async def _history(user: User, conversation_id: str) -> list[Shape]:
    found: list[Shape] = []
    fields = {"conversation_id": conversation_id, "limit": 200}
    while True:
        page, _, _ = await user.first.call("conversation:history", **fields)
        found = page["messages"] + found
        if not page["has_more"]:
            return found
        fields["before"] = found[0]["seq"]


def _counts(evidence: Evidence, people: list[User]) -> Counter[str]:
    counts: Counter[str] = Counter()
    counts["acknowledged"] = sum(send.acknowledged is not None for send in evidence.sends)
    counts["prompts"] = len(evidence.prompts)
    for user in people:
        for tab in user.tabs:
            counts["retries"] += tab.retries
            counts += tab.verdicts
            counts["connections"] += len({seen.connection for seen in tab.seen})
            counts["events"] += len(tab.seen)
            for seen in tab.seen:
                if "recovery" in seen.payload:
                    counts[str(seen.payload["recovery"])] += 1
                counts["snapshots on the way"] += seen.name == "conversation:snapshot"
    for kept in evidence.kept:
        for turn in kept.turns:
            counts[turn.status] += 1
            counts["taken over"] += turn.attempt > 1
    return counts
