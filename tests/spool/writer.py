"""Run as a program: has conversations lodge in a spool's file, and says what was acknowledged.

    python -m tests.spool.writer FOLDER NAME

Until it is killed, several at once: each conversation lodges with ``COPIES`` turns that have ended
("lodged" is said), accepts one more ("accepted"), and ends it ("ended").
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from spool.file import SpoolFile
from tests.spool.knowing import about, closed_turn, open_turn
from tests.stores.samples import LEASE, an_answer

COPIES = 25
AT_ONCE = 8


async def main(folder: str, name: str) -> None:
    file = SpoolFile(Path(folder))
    await file.connect()

    async def write(line: int) -> None:
        i = line
        while True:
            await _write_one(file, f"{name}-{i}")
            i += AT_ONCE

    await asyncio.gather(*map(write, range(AT_ONCE)))


async def _write_one(file: SpoolFile, conversation_id: str) -> None:
    def ids(n: int) -> dict[str, str]:
        return {"id": f"{conversation_id}/{n}"}

    copies = [
        closed_turn(n, conversation_id, **ids(n), question=_question(n, conversation_id))
        for n in range(1, COPIES + 1)
    ]
    conversation = about(COPIES, id=conversation_id)
    await file.lodge(conversation, copies, summary=None, made=False, lease_ms=LEASE)
    print("lodged", conversation_id, flush=True)
    n = COPIES + 1
    turn = open_turn(
        n, conversation_id, **ids(n), message_id=f"{conversation_id}/{n}", status="running"
    )
    await file.turns.insert(turn, lease_ms=LEASE)
    print("accepted", conversation_id, flush=True)
    await file.turns.finish(turn, "completed", an_answer(turn))
    print("ended", conversation_id, flush=True)


def _question(n: int, conversation_id: str) -> object:
    message_id = f"{conversation_id}/{n}"
    return open_turn(n, conversation_id, message_id=message_id).question


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
