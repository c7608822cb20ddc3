"""Which chat model answers, and how it is reached.

The seam for another client: whatever ``choose_model`` puts into ``Model.chat`` need only be a
``BaseChatModel`` that streams and reports ``finish_reason`` in its last chunk's response_metadata.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
import openai
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from agent.demo import DemoChatModel
from agent.openai_chat import LeanChatOpenAI

OPENAI_URL = "https://api.openai.com/v1"

# Local providers take any key, but the SDK insists on one.
NO_KEY = "none"

_CONNECT_SECONDS = 10.0

# One for each answer at a time; how many there are is limited elsewhere (MAX_RUNNING_TURNS).
_MAX_CONNECTIONS = 10_000
_KEPT_SECONDS = 30.0


@dataclass(frozen=True)
class Model:
    chat: BaseChatModel
    description: str
    """Which model, and where; without passwords."""
    close: Callable[[], Awaitable[None]]
    """Closes the connections to the provider, and with them every running stream."""
    is_demo: bool = False
    """It answers without a provider, and has nothing to say of what it is asked."""
    others: Mapping[str, BaseChatModel] = field(default_factory=dict)
    """Those that a conversation may choose instead, by their names, over the same connections."""

    @property
    def name(self) -> str:
        return name_of(self.chat)


def name_of(chat: BaseChatModel) -> str:
    """As its provider calls it."""
    return str(getattr(chat, "model_name", type(chat).__name__))


def choose_model(
    *,
    api_key: str | None,
    base_url: str | None,
    model_name: str,
    idle_timeout: float,
    others: Sequence[str] = (),
) -> Model:
    """The provider's model, or without key and base URL the offline demo model.

    ``idle_timeout`` is in seconds; 0 for none. ``others`` are names that may be chosen.
    """
    if not api_key and not base_url:
        return demo_model([model_name, *others])
    return _openai_compatible(
        api_key=api_key or NO_KEY,
        base_url=base_url or OPENAI_URL,
        model_name=model_name,
        idle_timeout=idle_timeout,
        others=[name for name in others if name != model_name],
    )


def demo_model(others: Sequence[str] = ()) -> Model:
    demo = DemoChatModel()
    return Model(
        chat=demo,
        description="offline demo model (set OPENAI_API_KEY for a real one)",
        close=_nothing_to_close,
        is_demo=True,
        others=dict.fromkeys(others, demo),
    )


def _openai_compatible(
    *, api_key: str, base_url: str, model_name: str, idle_timeout: float, others: Sequence[str]
) -> Model:
    # The SDK's own default client is shared in the process and dies with its first event loop.
    # aiohttp reads a chunked body in C, for half the price of the SDK's own transport; but it bears
    # no password in a URL beside the SDK's header.
    has_password = "@" in urlsplit(base_url).netloc
    new_client = openai.DefaultAsyncHttpxClient if has_password else openai.DefaultAioHttpClient
    client = new_client(
        # Reading waits a little longer than ``agent.streaming`` does, whose time-out has the say.
        timeout=openai.Timeout(
            idle_timeout + 5.0 if idle_timeout else None, connect=_CONNECT_SECONDS
        ),
        limits=httpx2.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEPT_SECONDS),
    )

    def named(name: str) -> LeanChatOpenAI:
        return LeanChatOpenAI(
            model=name,
            api_key=SecretStr(api_key),
            base_url=base_url,
            http_async_client=client,
            stream_usage=True,
            # ``agent.streaming`` retries, and knows whether anything was said already.
            max_retries=0,
            # ``agent.streaming`` has its own; two would hide each other.
            stream_chunk_timeout=None,
            # Some model names would switch to the Responses API, which most providers don't have.
            use_responses_api=False,
        )

    chosen = f" (or {', '.join(others)}, as a conversation chooses)" if others else ""
    return Model(
        chat=named(model_name),
        description=f"{model_name} at {_without_secrets(base_url)}{chosen}",
        close=client.aclose,
        others={name: named(name) for name in others},
    )


def _without_secrets(url: str) -> str:
    """Scheme, host, port and path: a user, a password or a key in the query stay out of sight."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


async def _nothing_to_close() -> None:
    return None
