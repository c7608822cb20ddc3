"""Why an answer could not be given, in words a client may show.

AnswerFailed
├── ProviderRejected      the provider refuses the request itself (bad key, unknown model, too long)
├── ProviderBusy          the provider limits the rate; ``retry_after`` seconds where it said so
├── ProviderUnavailable   the provider can't be reached or fails
├── ProviderSilent        nothing came for the idle time-out
├── ProviderCut           the stream ended in the middle
├── AgentFailed           the operator's own agent (AGENT) raised something
└── AgentSilent           nothing happened in it for the idle time-out
"""

from __future__ import annotations


class AnswerFailed(Exception):
    """The answer could not be made."""

    code = "internal"
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.retry_after = retry_after


class ProviderRejected(AnswerFailed):
    """The model provider refused the request; the server's settings need a look."""

    code = "invalid"
    retryable = False
    is_about_the_request = False
    """Whether another request might have been taken: neither key nor address is wrong."""


class ProviderBusy(AnswerFailed):
    """The model provider is limiting its rate; try again shortly."""

    code = "rate_limited"


class ProviderUnavailable(AnswerFailed):
    """The model provider can't be reached at the moment."""

    code = "unavailable"


class ProviderSilent(AnswerFailed):
    """The model provider stopped answering."""

    code = "unavailable"


class ProviderCut(AnswerFailed):
    """The model provider's answer broke off."""

    code = "unavailable"


class AgentFailed(AnswerFailed):
    """The answer could not be made."""


class AgentSilent(AnswerFailed):
    """The agent stopped answering."""

    code = "unavailable"
