"""``make soak ARGS="--seconds 900"``: many idle and some chatting clients; is memory flat?"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.soak.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--idle", type=int, default=1000, help="clients that only answer pings")
    parser.add_argument("--chatting", type=int, default=50, help="clients that ask again and again")
    parser.add_argument("--pause", type=float, default=3, help="seconds between two questions")
    given = parser.parse_args()
    return asyncio.run(
        run(seconds=given.seconds, idle=given.idle, chatting=given.chatting, pause=given.pause)
    )


if __name__ == "__main__":
    sys.exit(main())
