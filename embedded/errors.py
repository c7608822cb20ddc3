"""SQLite's errors become memory's at this one place.

RememberingError
├── Unavailable   what may pass: locked by another process for too long, disk full, I/O error
└── Unusable      what somebody has to mend first: not a database, damaged, not writable, too new
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memory.errors import RememberingError, Unavailable


class Unusable(RememberingError):
    """The embedded store's file can't be used as it is."""


_PASSING = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_LOCKED": "is locked",
    "SQLITE_FULL": "can't grow: the disk is full",
    "SQLITE_IOERR": "can't be read or written: the disk reports an error",
    "SQLITE_NOMEM": "can't be used: out of memory",
    "SQLITE_INTERRUPT": "was interrupted",
}

_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}

_SHUT = {"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"}


@contextmanager
def sqlite_errors_wrapped(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise wrapped(error, path) from error
    except TimeoutError as error:
        raise Unavailable(f"{path} did not answer in time.") from error


def wrapped(error: sqlite3.Error, path: Path) -> RememberingError:
    # The extended code's name begins with the plain one's: SQLITE_IOERR_WRITE.
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    if name in _PASSING:
        return Unavailable(f"{path} {_PASSING[name]}.")
    if name in _DAMAGED:
        return Unusable(
            f"{path} is damaged or is no database of ours: "
            "restore a backup of it, or move it away to begin with an empty one."
        )
    if name in _SHUT:
        return not_writable(path)
    return RememberingError(f"{path} refused the operation ({name or type(error).__name__}).")


def not_writable(path: Path) -> Unusable:
    return Unusable(
        f"{path} can't be opened for writing: give this user the right to write it and its folder, "
        "or set DATA_DIR to another folder."
    )
