"""Threads for code that is not async: the event loop's own executor, for an agent that blocks.

asyncio's has about six of them on a small machine, and a process does not end before they do: a
few agents that hang would stop all the others, and the server's own end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """Up to ``most`` threads, which end with the process, whatever they are doing. What there is no
    thread for waits. (asyncio takes nothing for its executor but a ThreadPoolExecutor.)"""

    def __init__(self, most: int) -> None:
        super().__init__(max_workers=most)
        self._most = most
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._count = self._free = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except (SystemExit, KeyboardInterrupt) as error:
                # In whoever waits it would go through the event loop, and end the server; and the
                # next one, with the same turn.
                failure = RuntimeError(f"it raised {type(error).__name__}")
                failure.__cause__ = error
                future.set_exception(failure)
            except BaseException as error:  # noqa: BLE001  # it is for who waits
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changed:
            if self._closed:
                raise RuntimeError("it is closed")
            self._jobs.append(job)
            if self._free < len(self._jobs) and self._count < self._most:
                threading.Thread(target=self._work, name="agent", daemon=True).start()
                self._count += 1
                self._free += 1
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes nothing more, and waits for nobody."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if self._closed:
                        return
                    self._changed.wait()
                job = self._jobs.popleft()
                self._free -= 1
            job()
            del job  # nor what it holds, while there is nothing to do
            with self._changed:
                self._free += 1
