"""A server's place: a folder of ``DATA_DIR`` that one process holds at a time.

A turn's owner is ``{slot}:{boot}``. A process that starts takes a free slot, and so knows whose
turns it may take over at once: those of the slot's earlier lives, which have ended, or the lock
would not have been free.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

MAX_SLOTS = 256


class SlotError(Exception):
    """No place for this process in DATA_DIR."""


class Slot:
    """Hold one with ``take``; ``release`` when the process ends (its death releases it too)."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock: int | None = None
        self.id = ""
        self.owner = ""
        self.folder = data_dir

    def take(self) -> None:
        """Raises ``SlotError`` when the folder can't be written or every slot is held."""
        try:
            for number in range(MAX_SLOTS):
                folder = self._data_dir / "slots" / str(number)
                folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                self._lock = lock
                self.folder = folder
                self.id = self._identity(lock)
                self.owner = f"{self.id}:{uuid.uuid4().hex[:12]}"
                return
        except OSError as error:
            raise SlotError(f"DATA_DIR {self._data_dir} can't be used: {error.strerror}") from error
        raise SlotError(f"DATA_DIR {self._data_dir} has {MAX_SLOTS} servers running already.")

    @staticmethod
    def _identity(lock: int) -> str:
        """The slot's own name, unlike that of any slot of another host or folder; made once."""
        known = os.pread(lock, 32, 0).decode("ascii", "replace")
        if len(known) == 32 and known.isalnum():
            return known
        identity = uuid.uuid4().hex
        os.pwrite(lock, identity.encode(), 0)
        os.fsync(lock)
        return identity

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
