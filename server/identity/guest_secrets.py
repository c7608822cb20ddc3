"""The secret that guests' tokens are signed with, also while the permanent store is away.

It is made once, in the permanent store, so that every server knows every guest; this host keeps a
copy in ``DATA_DIR``. A server that starts for the first time while the store is away makes one of
its own, and offers it to the store when that is there. Where another server's is there already,
this one signs with that, and still knows whom it let in by its own.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from memory.errors import RememberingError, Unavailable

log = logging.getLogger(__name__)

NAME = "guest"
FILE = "guest.secret"
MAX_SECRETS = 10
SHORTEST = 32
NOT_OURS = (
    "has something else in it than secrets: move it away. Guests whom this host alone has let in "
    "are strangers then."
)


class SecretsUnusable(RememberingError):
    """The guests' secrets in DATA_DIR can't be used."""


class Store(Protocol):
    async def secret(self, name: str, *, offered: str | None = None) -> str: ...


class GuestSecrets:
    """``current`` are those in force, the one that signs first."""

    def __init__(self, store: Store, data_dir: Path) -> None:
        self._store = store
        self._path = data_dir / FILE
        self.current: list[str] = []
        self.settled = False
        """Whether they are what the store says."""

    async def load(self) -> None:
        """Raises ``SecretsUnusable`` where the file in ``DATA_DIR`` can't be read or written."""
        known = self._read()
        try:
            shared = await self._store.secret(NAME, offered=known[0] if known else None)
        except Unavailable:
            self.current = known or self._make()
            return
        found = list(dict.fromkeys([shared, *known]))[:MAX_SECRETS]
        if found != known:
            self._write(found)
        self.current, self.settled = found, True

    async def settle(self, changed: Callable[[Sequence[str]], None]) -> bool:
        """Ask the store once more, if that is still to be done; True when it no longer is."""
        if not self.settled:
            before = self.current
            try:
                await self.load()
            except SecretsUnusable as error:
                log.warning("Guests' secret: %s", error, extra={"action": "guest_secret"})
            if self.current != before:
                changed(self.current)
        return self.settled

    def _read(self) -> list[str]:
        try:
            found = self._path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error
        except UnicodeDecodeError as error:
            raise SecretsUnusable(f"{self._path} {NOT_OURS}") from error
        if any(len(secret) < SHORTEST for secret in found):
            raise SecretsUnusable(f"{self._path} {NOT_OURS}")
        return found

    def _unusable(self, error: OSError) -> SecretsUnusable:
        return SecretsUnusable(f"{self._path} can't be used: {error.strerror}.")

    def _make(self) -> list[str]:
        """One of this host's own: of several servers that start at once, one makes it."""
        made = secrets.token_urlsafe(32)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._beside(made)
            try:
                os.link(whole, self._path)
            except FileExistsError:
                log.debug("Another server of this host has made the guests' secret.")
            finally:
                whole.unlink()
            found = self._read()
            if not found:  # somebody's empty file
                self._write([made])
        except OSError as error:
            raise self._unusable(error) from error
        return found or [made]

    def _write(self, found: list[str]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._beside("\n".join(found)).replace(self._path)
        except OSError as error:
            raise self._unusable(error) from error

    def _beside(self, text: str) -> Path:
        """The text in a file of its own, synced: what is renamed or linked is whole."""
        beside = self._path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        return beside
