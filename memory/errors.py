"""What memory and the stores raise; drivers' own errors are wrapped in these at a package's edge.

RememberingError
├── Unavailable              retryable: the store can't be reached, or did not answer in time
│   └── Refused              ... and is there, but lets nobody in: somebody has to mend that
├── NotFound                 no such conversation: never made, deleted, or another user's
├── Taken                    the conversation id belongs to another user, or to another request
└── Duplicate                an insert met a unique index; which one says what to do
    ├── DuplicateMessage     this user has sent this message id before: replay, or conflict
    ├── DuplicateNumber      somebody inserted this turn's number first: read again
    └── DuplicateRunning     another turn of the conversation is running: queue
"""

from __future__ import annotations


class RememberingError(Exception):
    """Something about a conversation could not be read or written."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class Unavailable(RememberingError):
    """The store can't be reached at the moment; the same call may work later."""


class Refused(Unavailable):
    """The store is there, and refuses the login."""


class NotFound(RememberingError):
    """There is no such conversation."""


class Taken(RememberingError):
    """This conversation id is in use already."""


class Duplicate(RememberingError):
    """A record with this key exists already."""


class DuplicateMessage(Duplicate):
    """This user has sent a message with this id before."""


class DuplicateNumber(Duplicate):
    """The conversation has a turn of this number already."""


class DuplicateRunning(Duplicate):
    """Another turn of the conversation is running."""
