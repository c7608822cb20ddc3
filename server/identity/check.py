"""A project's own answer to who is calling: AUTH_CHECK=module:function.

    def check(handshake):
        return the user's id, or None for a caller who is not let in

It may be ``async``. One that is not runs in a thread of its own, so that it holds nobody up.

A browser adds cookies to a handshake whatever page began it, so they prove who is sitting there,
not who is asking. Of a handshake begun by a page of another origin the check is therefore shown no
header that could prove anything: there only the token counts, which that page must have been given.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping

from agent.loading import Unusable, load_named
from server.errors import Away
from server.identity.origins import is_of_one_origin

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0

# Threads that a check which is not async may take. One that hangs keeps its thread.
MOST_AT_ONCE = 64

# What a page of another origin can't use to pass for somebody: all else may be the browser's doing,
# or that of a proxy which knows the browser's cookies.
SHOWN_ACROSS_ORIGINS = ("host", "origin", "user-agent", "accept-language")

NO_ANSWER = "It can't be checked now who is calling; try again shortly."


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """What a check is called with."""

    token: str | None
    """What the client gave as ``auth: {token}``."""
    headers: Mapping[str, str]
    """Of the handshake's request, found by name in any case. Few where its page is elsewhere's."""
    address: str
    """The client's, as TRUSTED_PROXIES tell it; of an IPv6 one its network, such as
    2001:db8::/64."""


Function = Callable[[Handshake], Any]


def handshake(token: str | None, headers: MultiMapping[str], address: str) -> Handshake:
    """Of a request's ``headers``, those that its page may prove anything by."""
    shown: MultiMapping[str] = headers
    if not is_of_one_origin(headers):
        shown = CIMultiDict(
            (name, value) for name, value in headers.items() if name.lower() in SHOWN_ACROSS_ORIGINS
        )
    return Handshake(token=token, headers=CIMultiDictProxy(CIMultiDict(shown)), address=address)


class Check:
    """``name`` is that of the setting: module:function."""

    def __init__(
        self,
        function: Function,
        name: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self.name = name
        self._function = function
        self._timeout = timeout_seconds
        self._threads = asyncio.Semaphore(most_at_once)

    async def ask(self, caller: Handshake) -> str | None:
        """Raises ``Away`` where the check fails, or does not answer in time."""
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                answer = await self._answer(caller)
        except asyncio.CancelledError:
            # The check's own, unless it is this connection that ends: nobody may get in by it.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            log.error("AUTH_CHECK was cancelled.", extra={"action": "auth_check"})
            raise Away(NO_ANSWER) from None
        except Exception as error:
            if limit.expired():
                log.error("AUTH_CHECK takes too long.", extra={"action": "auth_check"})
            else:
                log.error("AUTH_CHECK failed.", extra={"action": "auth_check"}, exc_info=error)
            raise Away(NO_ANSWER) from None
        if answer is None or isinstance(answer, str):
            return answer
        log.error(
            "AUTH_CHECK is to return a text or None.",
            extra={"action": "auth_check", "returned": type(answer).__name__},
        )
        raise Away(NO_ANSWER)

    async def _answer(self, caller: Handshake) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(caller)
        answer = await self._in_a_thread(caller)
        # A function that is wrapped may look like a plain one and still give something to await.
        return await answer if inspect.isawaitable(answer) else answer

    async def _in_a_thread(self, caller: Handshake) -> Any:
        """In one that ends with the process: one that hangs must not keep the server from ending,
        as a thread of an executor would."""
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def ended(value: Any, error: Exception | None) -> None:
            self._threads.release()
            if answer.done():  # nobody waits for it any more
                return
            if error is None:
                answer.set_result(value)
            else:
                answer.set_exception(error)

        def run() -> None:
            value: Any = None
            error: Exception | None = None
            try:
                value = self._function(caller)
            except BaseException as raised:  # noqa: BLE001  # it is for who waits, also an exit
                error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended, value, error)

        try:
            threading.Thread(target=run, name="auth check", daemon=True).start()
        except BaseException:
            self._threads.release()
            raise
        return await answer


def load_check(name: str, folder: Path) -> Check:
    """``name`` is module:function, imported from where Python finds modules, and from ``folder``.
    Raises ``Unusable``."""
    function = load_named("AUTH_CHECK", name, folder)
    if not callable(function):
        raise Unusable("AUTH_CHECK", name, "{} has no function {}".format(*name.split(":")))
    return Check(function, name)
