"""``make fuzz ARGS="--seed 7 --seconds 120"``: junk against a real server, replayable by seed."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from tests.fuzz.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", type=int, help="just the attack of this number, of that seed")
    given = parser.parse_args()
    outcome = asyncio.run(run(given.seed, seconds=given.seconds, only=given.only))
    print(outcome, flush=True)
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
