"""Steps that several tests take."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from memory import RedisConversationMemory
from tests.support.archive import ArchiveInMemory
from tests.support.wait import wait_until


async def exchange(
    memory: RedisConversationMemory, archive: ArchiveInMemory, name: str = "c"
) -> None:
    question, asked = archive.ask(name)
    await memory.remember(name, question, asked)
    transcript = await memory.read(name, at_least=asked)
    assert transcript.messages == archive.messages(name)[-50:]
    await memory.remember(name, *archive.answer(name, asked.turn))


async def state(memory: RedisConversationMemory, state: str) -> None:
    await wait_until(lambda: memory.state == state, f"memory is {state}")


async def agrees(
    memory: RedisConversationMemory, archive: ArchiveInMemory, name: str = "c"
) -> None:
    """What a reader without any knowledge gets is what the store has, counter and all."""
    transcript = await memory.read(name)
    assert transcript.messages == archive.messages(name)[-50:]
    assert transcript.position == archive.position(name)


def resident() -> int:
    """Bytes of memory that this process takes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
