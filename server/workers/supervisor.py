"""Several servers on one port: started together, each started again when it dies, stopped together.

A supervisor answers nobody: it holds the port, and passes on what workers measure. It has nothing
to lose, and when it is killed the workers hear it by the end of their lines, and end, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import uvloop

from server.settings import Settings
from server.tasks import Tasks
from server.workers.port import CannotListen, Port
from server.workers.process import Process

log = logging.getLogger(__name__)

Tell = Callable[[Settings, int, Mapping[str, str]], None]
"""Says what is in force, and on which port."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
"""A worker that has lived so long is started again after the first pause."""

# A worker moves its clients and closes what it has after the answers' grace.
CLOSING_SECONDS = 15.0
MEASURE_SECONDS = 1.0


def supervise(settings: Settings, tell: Tell) -> int:
    """Until it is asked to stop, or the workers can't be started at all; the exit code."""
    port = Port(settings.host, settings.port)
    try:
        port.take()
    except CannotListen as error:
        return _cannot_start(error)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Supervisor(settings, port.number, tell).run())
    finally:
        port.release()


def _cannot_start(reason: object) -> int:
    sys.stderr.write(f"Mnemosio can't start: {reason}\n")
    return 1


class Supervisor:
    def __init__(self, settings: Settings, port: int, tell: Tell) -> None:
        self._settings = settings
        self._numbers = range(1, settings.workers + 1)
        self._port = port
        self._tell = tell
        # As this process was started, -X dev and all, with what makes it a worker at the end.
        self._command = [sys.executable, *sys.orig_argv[1:]]
        self._workers: dict[int, Process] = {}
        self._restarts = Counter(dict.fromkeys(self._numbers, 0))
        self._ready = {number: asyncio.Event() for number in self._numbers}
        self._begun = False  # all have been ready once
        self._stop = asyncio.Event()
        self._last_word: signal.Signals | None = None  # what all workers were told in the end
        self._failure = ""
        self._patience = settings.drain_grace_seconds + CLOSING_SECONDS
        self._renewal: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def run(self) -> int:
        self._hear_signals()
        keepers = [self._tasks.start(self._keep(n), f"worker {n}") for n in self._numbers]
        await self._stop.wait()
        if self._failure:
            self._tell_all(signal.SIGKILL)
        else:
            log.info("Stopping: the workers get their time. Asked once more, all end at once.")
            self._tell_all(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._patience)
        if late:
            log.error("Workers that did not end are killed.", extra={"count": len(late)})
            self._tell_all(signal.SIGKILL)
            await asyncio.wait(late)
        await self._tasks.close()
        return _cannot_start(self._failure) if self._failure else int(bool(late))

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        # A terminal that is closed sends it, too, and means the end.
        if sys.stdin is not None and sys.stdin.isatty():
            loop.add_signal_handler(signal.SIGHUP, self._asked_to_stop, signal.SIGHUP)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._asked_to_renew)

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            self._tell_all(signal.SIGKILL)
            os._exit(128 + number)
        self._stop.set()

    def _tell_all(self, number: signal.Signals) -> None:
        self._last_word = number
        for worker in self._workers.values():
            worker.signal(number)

    async def _keep(self, number: int) -> None:
        """One worker after another at this place, until all are to stop."""
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            worker = Process(number, on_ready=self._is_ready, on_gather=self._gather)
            born = asyncio.get_running_loop().time()
            how = await self._live(worker)
            self._ready[number].clear()
            if self._stop.is_set():
                return
            if not self._begun:
                self._failure = worker.reason or f"worker {number} ended at its start ({how})."
                self._stop.set()
                return
            if worker.leaving:
                continue
            if asyncio.get_running_loop().time() - born > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._restarts[number] += 1
            log.warning(
                "A worker ended, and is started again.",
                extra={"worker": number, "how": how, "in_s": pause}
                | ({"reason": worker.reason} if worker.reason else {}),
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _live(self, worker: Process) -> str:
        """How it ended."""
        try:
            await worker.start(self._command, self._port)
        except OSError as error:  # the machine has no more processes or memory to give
            return str(error)
        self._workers[worker.number] = worker
        if self._last_word is not None:  # it was started while all were told
            worker.signal(self._last_word)
        return await worker.ended()

    def _is_ready(self, worker: Process) -> None:
        self._ready[worker.number].set()
        if self._begun:
            log.info("A worker is ready.", extra={"worker": worker.number, "pid": worker.pid})
        elif all(event.is_set() for event in self._ready.values()):
            self._begun = True
            if not all(each.shared for each in self._workers.values()):
                log.warning(
                    "Redis can't be reached, and workers tell each other what happens through it: "
                    "until it is there a tab sees what another worker answers in steps of about a "
                    "second."
                )
            self._tell(self._settings, self._port, worker.force)

    def _gather(self, asking: Process, key: int) -> None:
        self._tasks.start(self._gathered(asking, key), "gathering measures")

    async def _gathered(self, asking: Process, key: int) -> None:
        others = [
            each
            for each in self._workers.values()
            if each is not asking and self._ready[each.number].is_set()
        ]
        told = await asyncio.gather(*(each.measures(MEASURE_SECONDS) for each in others))
        texts = {
            each.number: text for each, text in zip(others, told, strict=True) if text is not None
        }
        asking.gathered(key, texts, dict(self._restarts))

    def _asked_to_renew(self) -> None:
        under_way = self._renewal is not None and not self._renewal.done()
        if self._begun and not self._stop.is_set() and not under_way:
            self._renewal = self._tasks.start(self._renew(), "renewal of the workers")

    async def _renew(self) -> None:
        """One worker after the other is started again, the next when the one before is ready."""
        log.info("The workers are started again, one after the other.")
        for number in self._numbers:
            await self._ready[number].wait()
            self._ready[number].clear()
            worker = self._workers[number]
            worker.leave()
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.ended(), self._patience)
            worker.signal(signal.SIGKILL)  # where it has not
            await self._ready[number].wait()
        log.info("All workers were started again.")
