"""Turns what a model's client raises into ``agent.errors``: the one place that knows those errors.

Of a provider's own words only status and code reach the log, and none a client: they may repeat a
key, a URL with a password, or the user's text.
"""

from __future__ import annotations

import logging
import math

import openai
from langchain_core.exceptions import ContextOverflowError

from agent.errors import (
    AnswerFailed,
    ProviderBusy,
    ProviderCut,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
)

log = logging.getLogger(__name__)

# Statuses below 500 that pass by themselves: time-out, conflict, too early.
_PASSING = frozenset({408, 409, 425})

# Which settings an operator should look at.
_SETTINGS = {
    401: "OPENAI_API_KEY",
    403: "OPENAI_API_KEY",
    404: "OPENAI_MODEL, OPENAI_BASE_URL",
}


def is_providers(error: Exception) -> bool:
    """Whether it comes from a model's provider, or the way there."""
    return isinstance(error, openai.APIError | ContextOverflowError)


def answer_failed(error: Exception, *, text_came: bool) -> AnswerFailed:
    """What ``error`` means for the answer; ``text_came`` when some of it was streamed before."""
    if isinstance(error, AnswerFailed):
        return error
    failed = _meaning(error, text_came=text_came)
    log.warning(
        "The model's answer failed.",
        extra={
            "action": "answer_failed",
            "error": type(error).__name__,
            "status": _status(error),
            "code": getattr(error, "code", None),
            "meaning": type(failed).__name__,
            "look_at": _SETTINGS.get(_status(error) or 0),
        },
        # What nobody foresaw is a mistake of ours, or of a library: only its traceback finds it.
        exc_info=error if type(failed) is AnswerFailed else None,
    )
    return failed


def _meaning(error: Exception, *, text_came: bool) -> AnswerFailed:
    if isinstance(error, ContextOverflowError):
        return ProviderRejected("The message is too long for the model.")
    if isinstance(error, openai.APIError):
        status = _status(error)
        if status == 429:
            return _rate_limited(error)
        if status is not None and status < 500 and status not in _PASSING:
            rejected = ProviderRejected()
            rejected.is_about_the_request = status not in _SETTINGS or status == 404
            return rejected
        return ProviderCut() if text_came else ProviderUnavailable()
    if isinstance(error, TimeoutError):
        return ProviderSilent()
    # Not the protocol: an empty stream, broken JSON, bytes that are no text.
    if isinstance(error, ValueError):
        return ProviderCut()
    return AnswerFailed()


def _status(error: Exception) -> int | None:
    """The HTTP status; for an error inside a stream, the code where that is one (or names one)."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status
    code = getattr(error, "code", None)
    if not isinstance(code, str):
        return None
    if code.isascii() and code.isdigit() and len(code) == 3:
        return int(code)
    return 429 if code == "rate_limit_exceeded" else None


def _rate_limited(error: openai.APIError) -> AnswerFailed:
    # OpenAI says 429 also when the account is out of credit, which waiting doesn't mend.
    if error.code == "insufficient_quota":
        return ProviderRejected()
    return ProviderBusy(retry_after=_retry_after(error))


def _retry_after(error: openai.APIError) -> float | None:
    """Seconds; the header's other form, a date, is rare enough to be left to the backoff."""
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
