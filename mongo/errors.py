"""The driver's errors become memory's at this one place.

What may pass by itself (nobody there, no primary, no majority, out of time, out of disk) is
``Unavailable``; so is a refused login, which somebody has to mend but a client may wait for. What
is left is a mistake of ours and stays visible as a plain ``RememberingError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from memory.errors import Refused, RememberingError, Unavailable

_LOGIN_CODES = {13, 18}  # Unauthorized, AuthenticationFailed
_PASSING_CODES = {
    24,  # LockTimeout
    112,  # WriteConflict
    202,  # NetworkInterfaceExceededTimeLimit
    262,  # ExceededTimeLimit
    314,  # OutOfDiskSpace, from 7.0
    14031,  # OutOfDiskSpace, before
}


@contextmanager
def driver_errors_wrapped() -> Iterator[None]:
    try:
        yield
    except (PyMongoError, TimeoutError) as error:
        raise wrapped(error) from error


def wrapped(error: PyMongoError | TimeoutError) -> RememberingError:
    """The error of ours that says what ``error`` means for a caller. Nothing of its text is
    repeated: drivers quote keys, values and addresses."""
    if isinstance(error, TimeoutError):
        return Unavailable("MongoDB did not answer in time.")
    if isinstance(error, ConfigurationError):
        return RememberingError(
            "The connection string in MONGODB_URI won't do (its login must be percent-encoded, the "
            "host after mongodb+srv:// be in DNS), or the server is too old."
        )
    if isinstance(error, InvalidOperation):
        return Unavailable("The connection to MongoDB is closed.")
    if isinstance(error, ServerSelectionTimeoutError):
        return Unavailable("MongoDB can't be reached.")
    if error.timeout:
        return Unavailable("MongoDB did not answer in time.")
    if isinstance(error, ConnectionFailure):
        return Unavailable("MongoDB can't be reached.")
    if isinstance(error, WriteConcernError) or error.has_error_label("RetryableWriteError"):
        return Unavailable("MongoDB could not have the write acknowledged by a majority.")
    if isinstance(error, BulkWriteError):
        return _of_bulk(error)
    if isinstance(error, OperationFailure):
        return refusal(error.code)
    return RememberingError(f"MongoDB's driver failed ({type(error).__name__}).")


def _of_bulk(error: BulkWriteError) -> RememberingError:
    """Its own code says nothing."""
    details: Mapping[str, Any] = error.details or {}
    if details.get("writeConcernErrors"):
        return Unavailable("MongoDB could not have the write acknowledged by a majority.")
    refused = details.get("writeErrors") or [{}]
    return refusal(refused[0].get("code"))


def refusal(code: int | None) -> RememberingError:
    """What a server's error code means for a caller."""
    if code in _LOGIN_CODES:
        return Refused("MongoDB refuses the login that MONGODB_URI gives, or wants one.")
    if code in _PASSING_CODES:
        return Unavailable("MongoDB can't take the write at the moment.")
    return RememberingError(f"MongoDB refused the operation (code {code}).")
