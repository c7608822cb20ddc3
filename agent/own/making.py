"""What ``AGENT=module:attribute`` may name: a Runnable, or what makes one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable

from agent.loading import Unusable, load_named, why
from agent.own.agent import OwnAgent
from agent.threads import DaemonThreads
from agent.tracing import NO_TRACES, Traces

log = logging.getLogger(__name__)

SETTING = "AGENT"
IN_A_LAMBDA = "a function that answers goes into RunnableLambda(…)"

# Answers of an agent that is not async, at a time in this process; the next ones wait.
MOST_THREADS = 128


async def make_own(
    name: str,
    folder: Path,
    *,
    offers: Mapping[str, Any],
    idle_timeout: float,
    traces: Traces = NO_TRACES,
) -> OwnAgent:
    """The agent that AGENT names, for the event loop it is called in. Raises ``Unusable``."""
    runnable, close = await runnable_of(load_named(SETTING, name, folder), name, offers)
    asyncio.get_running_loop().set_default_executor(DaemonThreads(MOST_THREADS))
    return OwnAgent(runnable, name=name, idle_timeout=idle_timeout, close=close, traces=traces)


async def runnable_of(
    value: Any, name: str, offers: Mapping[str, Any]
) -> tuple[Runnable[Any, Any], Callable[[], Awaitable[None]]]:
    """The Runnable, and what closes it. ``offers`` has what a factory may ask for by the names of
    its parameters. Raises ``Unusable``."""
    closing = AsyncExitStack()
    unused = bool(offers.get("tools"))
    made: Any
    if isinstance(value, Runnable):
        made = value
    else:
        given = _given(value, name, offers)
        unused = unused and "tools" not in given
        try:
            made = value(**given)
            if inspect.isawaitable(made):
                made = await made
            if isinstance(made, AbstractAsyncContextManager):
                made = await closing.enter_async_context(made)
            elif isinstance(made, AbstractContextManager):
                made = closing.enter_context(made)
        except Exception as error:
            raise Unusable(SETTING, name, f"it failed: {why(error)}") from error
        if not isinstance(made, Runnable):
            await closing.aclose()
            what = f"it gave {_kind(made)}, which is no LangChain Runnable{_uncompiled(made)}"
            raise Unusable(SETTING, name, what)
    if unused:
        log.warning("TOOLS is not used: AGENT answers, and is no function that asks for tools.")
    close = getattr(made, "aclose", None) or getattr(made, "close", None)
    if callable(close):
        closing.push_async_callback(_closed, close)
    return made, closing.aclose


async def _closed(close: Callable[[], Any]) -> None:
    closing = close()
    if inspect.isawaitable(closing):
        await closing


def _given(value: Any, name: str, offers: Mapping[str, Any]) -> dict[str, Any]:
    """What the factory asks for."""
    if not callable(value):
        what = f"that is {_kind(value)}, and no LangChain Runnable{_uncompiled(value)}"
        raise Unusable(SETTING, name, what)
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = [each for each in parameters if each.kind in (each.KEYWORD_ONLY, _EITHER)]
    unknown = [
        each.name
        for each in parameters
        if each.default is each.empty
        and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        and each.name not in offers
    ]
    if unknown:
        may_ask = " and ".join(offers)
        what = f"it asks for {', '.join(unknown)}, and may ask for {may_ask}; {IN_A_LAMBDA}"
        raise Unusable(SETTING, name, what)
    return {each.name: offers[each.name] for each in named if each.name in offers}


_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _uncompiled(value: Any) -> str:
    return "; compile() makes it one" if callable(getattr(value, "compile", None)) else ""


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"
