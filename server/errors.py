"""What a call can be answered with instead of ``ok``: one class a code of the contract.

CallError
├── Invalid          a wrong type, a missing field, a value out of bounds
├── Unauthorized     a bad, expired or missing token
├── Missing          no such conversation or turn, or somebody else's
├── Conflict         the same id came with different content
├── Busy             the conversation is answering, or has too much waiting
├── TooLarge         more than a message may have
├── RateLimited      more than one user, or one address, may do at the moment
├── Away             what would be needed for a truthful answer can't be reached now
└── Internal         our own fault; the log has more

``as_call_error`` is the one place that turns any exception into one of these.
"""

from __future__ import annotations

from typing import Any

from memory.errors import NotFound, Taken, Unavailable


class CallError(Exception):
    """Something went wrong."""

    code = "internal"
    retryable = False

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or (self.__doc__ or "").strip()
        super().__init__(self.message)
        self.field = field
        self.retry_after = retry_after

    def shape(self) -> dict[str, Any]:
        """As it goes over the wire."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.field is not None:
            error["field"] = self.field
        if self.retry_after is not None:
            error["retry_after"] = self.retry_after
        return error


class Invalid(CallError):
    """The call is not as the protocol has it."""

    code = "invalid"


class Unauthorized(CallError):
    """This token does not let you in."""

    code = "unauthorized"


class Missing(CallError):
    """There is no such conversation."""

    code = "not_found"


class Conflict(CallError):
    """This id was used before, with different content."""

    code = "conflict"


class Busy(CallError):
    """The conversation is answering."""

    code = "busy"
    retryable = True


class TooLarge(CallError):
    """That is more than a message may have."""

    code = "too_large"


class RateLimited(CallError):
    """That is too much at once; try again in a moment."""

    code = "rate_limited"
    retryable = True


class Away(CallError):
    """This can't be answered truthfully at the moment; try again shortly."""

    code = "unavailable"
    retryable = True


class Internal(CallError):
    """Something went wrong here; it has been logged."""

    code = "internal"


def as_call_error(error: Exception) -> CallError:
    """Client-safe: no traceback, no query, no address of ours gets out."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, NotFound):
        return Missing()
    if isinstance(error, Taken):
        return Conflict()
    if isinstance(error, Unavailable):
        return Away()
    return Internal()
