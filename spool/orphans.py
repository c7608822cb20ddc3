"""Spools whose servers are gone: any server that shares ``DATA_DIR`` drains them.

A slot's lock is free when its process has ended, however it ended. Who drains it holds the lock
meanwhile, so that a server which starts now takes another slot.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from memory.errors import RememberingError
from redislink.session import Session
from spool.draining import Drain
from spool.file import SpoolFile
from spool.leases import SpoolLeases
from spool.permanent import Permanent
from stores.contract import Drained

log = logging.getLogger(__name__)


class Orphans:
    def __init__(
        self,
        data_dir: Path,
        own_slot: Path,
        permanent: Permanent,
        on_drained: Callable[[Drained], Awaitable[None]],
    ) -> None:
        self._slots = data_dir / "slots"
        self._own = own_slot
        self._permanent = permanent
        self._on_drained = on_drained

    async def drain(self, session: Session | None) -> int:
        """How many turns it has brought to the permanent store; ``session`` is where their leases
        are."""
        drained = 0
        for folder in sorted(self._slots.glob("*")):
            if folder == self._own or not SpoolFile.is_in(folder):
                continue
            with _locked(folder) as is_mine:
                if is_mine:
                    leases = SpoolLeases(slot_identity(folder))
                    leases.session = session
                    drained += await self._drain(folder, leases)
        return drained

    async def _drain(self, folder: Path, leases: SpoolLeases) -> int:
        file = SpoolFile(folder)
        turns = 0
        try:
            await file.connect()
            for lodging in await file.lodgings():
                # Nobody answers its open turns: whoever sweeps first takes them on.
                drain = Drain(file, self._permanent, lambda turn: 0, self._on_drained)
                drained = await drain.drain(lodging)
                await leases.release(lodging.conversation_id)
                turns += len({turn.id for turn, _ in drained.stored})
                log.info(
                    "A conversation of a server that is gone was drained.",
                    extra={"action": "drained", "conversation_id": lodging.conversation_id},
                )
        except RememberingError as error:
            log.warning(
                "The spool of a server that is gone can't be drained now.",
                extra={"action": "orphan_waits", "folder": str(folder), "error": str(error)},
            )
        finally:
            await file.close()
        return turns


def slot_identity(folder: Path) -> str:
    """The name that the slot's servers have through all their restarts (``server.turns.slot``)."""
    return (folder / "lock").read_bytes()[:32].decode("ascii", "replace")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the slot could be locked: its server is gone."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
