"""``make chaos ARGS="--seed 7 --seconds 120"``: the real thing under faults, replayable by seed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import pickle
import random
import sys
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.run import EVIDENCE, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--runs", type=int, default=1, help="with this seed and those after it")
    parser.add_argument("--seconds", type=float, default=60, help="of faults, each run")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--tabs", type=int, default=3, help="of each user")
    parser.add_argument("--conversations", type=int, default=2, help="of each user")
    parser.add_argument("--calm", action="store_true", help="break clients' connections only")
    parser.add_argument("--judge", type=Path, help="only the evidence in a failed run's folder")
    given = parser.parse_args()
    if given.judge is not None:
        evidence = pickle.loads((given.judge / EVIDENCE).read_bytes())
        findings = check(evidence)
        print("\n".join(findings) or "flawless")
        return 1 if findings else 0
    # The provider's side of a server that was killed while it was answered: no news here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    failed = 0
    for seed in range(given.seed, given.seed + given.runs):
        outcome = asyncio.run(
            run(
                seed,
                seconds=given.seconds,
                servers=given.servers,
                users=given.users,
                tabs=given.tabs,
                conversations=given.conversations,
                calm=given.calm,
            )
        )
        print(outcome, flush=True)
        failed += bool(outcome.findings)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
