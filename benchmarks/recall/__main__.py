"""``make bench-memory``: of long conversations, is what a question needs in what would be sent?

No model is needed. Conversations are made up (``planted.py``) and kept in real stores; for each
question the prompt is built as the agent builds it, in 4,000 tokens. With ``--locomo FILE`` the
same is asked of LoCoMo's dialogues; with ``--meaning`` also by meaning, where ``wordllama`` is
installed (``pip install wordllama``), a model so small that it needs no server.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import fmean

import uvloop

from agent.finding import Finder, Meaning
from benchmarks.recall import locomo
from benchmarks.recall.measuring import USER, Found, Wanted, kept, measured
from benchmarks.recall.planted import conversation
from benchmarks.report import Missing, machine
from benchmarks.servers import mongod
from embedded.store import EmbeddedStore
from mongo.store import MongoStore
from stores.contract import Store

BUDGET = 4_000
GOAL = 0.95
SIZES = (100, 300, 1_000, 5_000)
FACTS = 30
SEEDS = 3

HEADING = (
    "| store | turns | questions | words shared | window alone | plain BM25 | search alone "
    "| sent | sent, needed beyond the window | ms p50 | p99 |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall", description=__doc__)
    parser.add_argument("--locomo", type=Path, metavar="FILE", help="data/locomo10.json")
    parser.add_argument("--budget", type=int, default=BUDGET, help="tokens of a prompt")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="conversations of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="in turns")
    parser.add_argument("--meaning", action="store_true", help="also by meaning (wordllama)")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_main(arguments))


async def _main(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    print(f"{machine()}\n\nWithin {arguments.budget:,} tokens.\n", flush=True)
    below = False
    async with stores() as opened:
        print(HEADING, flush=True)
        for name, store in opened:
            for size in arguments.sizes:
                found = await planted(
                    store, size, arguments.seeds, arguments.budget, meaning=arguments.meaning
                )
                print(row(name, f"{size:,}", found), flush=True)
                below = below or fmean(found.sent) < GOAL
            if arguments.locomo is not None:
                found = await of_locomo(
                    store, arguments.locomo, arguments.budget, meaning=arguments.meaning
                )
                print(row(name, "LoCoMo", found), flush=True)
    print(f"\n{time.monotonic() - began:.0f} s.")
    if below:
        print(f"BELOW THE GOAL of {GOAL:.0%}.")
    return int(below)


@asynccontextmanager
async def stores() -> AsyncIterator[list[tuple[str, Store]]]:
    async with AsyncExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mnemosio-")))
        opened: list[tuple[str, Store]] = [("embedded", EmbeddedStore(folder / "store.db"))]
        try:
            server = running.enter_context(mongod(folder / "mongod"))
            opened.append(("MongoDB", MongoStore(server.uri, "bench_recall")))
        except Missing as missing:
            print(f"MongoDB: not measured, {missing}\n")
        for _, store in opened:
            await store.connect()
            running.push_async_callback(store.close)
        yield opened


async def planted(
    store: Store, size: int, seeds: int, budget: int, *, meaning: bool = False, first_seed: int = 0
) -> Found:
    found = Found()
    for seed in range(first_seed, first_seed + seeds):
        made = conversation(size, min(FACTS, size // 5), seed)
        questions = [
            Wanted(each.text, [(2 * each.needed + 1, each.value)]) for each in made.questions
        ]
        found.add(await _one(store, made.turns, questions, budget, meaning=meaning))
    return found


async def of_locomo(store: Store, file: Path, budget: int, *, meaning: bool) -> Found:
    found = Found()
    for each in locomo.dialogues(file):
        found.add(await _one(store, each.turns, each.questions, budget, meaning=meaning))
    return found


async def _one(
    store: Store,
    turns: Sequence[tuple[str, str]],
    questions: Sequence[Wanted],
    budget: int,
    *,
    meaning: bool,
) -> Found:
    conversation_id, made = await kept(store, turns)
    by_meaning: Meaning | None = None
    if meaning:
        from benchmarks.recall.small_model import meaning_of

        by_meaning = await meaning_of(store, USER, made)
    finder = Finder(store.search, by_meaning)
    found = await measured(store, finder, conversation_id, made, questions, budget=budget)
    await finder.close()
    return found


def row(name: str, size: str, found: Found) -> str:
    beyond = found.sent_beyond_window()
    ms = sorted(found.ms)
    cells = [
        name,
        size,
        f"{len(found.sent):,}",
        f"{fmean(found.shared):.2f}",
        f"{fmean(found.window):.3f}",
        f"{fmean(found.plain):.3f}",
        f"{fmean(found.search):.3f}" if found.search else "",
        f"{fmean(found.sent):.3f}",
        f"{fmean(beyond):.3f}" if beyond else "",
        f"{ms[len(ms) // 2]:.0f}",
        f"{ms[min(len(ms) - 1, len(ms) * 99 // 100)]:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
