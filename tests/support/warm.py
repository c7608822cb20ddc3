"""Starts servers from an interpreter that has imported their libraries.

That is most of what a start costs: seconds of a processor on a small machine, hundreds of times
in a run of the tests. The libraries are all it knows: each server runs main.py from its beginning,
in a process of its own, which has signals, limits and a death like any other.

Run as a script, this is that interpreter. For each line of JSON that it reads it forks twice: a
server, and who waits for the server's end and writes down how that was.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "aiohttp",
    "aiosqlite",
    "jwt",
    "langchain_openai",
    "orjson",
    "prometheus_client",
    "pydantic_settings",
    "pymongo",
    "redis.asyncio",
    "socketio",
    "uvloop",
)


class Forked:
    """Such a process; the part of ``subprocess.Popen`` that is used of it."""

    def __init__(self, pid: int, end: Path) -> None:
        self.pid = pid
        self._end = end

    def poll(self) -> int | None:
        try:
            return int(self._end.read_text())
        except (FileNotFoundError, ValueError):  # or it is being written
            return None

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("main.py", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Forker:
    def __init__(self, environment: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self._end)

    def fork(self, **order: str | dict[str, str]) -> int:
        """The server's process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@cache
def _forker(environment: tuple[tuple[str, str], ...]) -> _Forker:
    return _Forker(dict(environment))


def start(
    script: Path, *, base: dict[str, str], settings: dict[str, str], cwd: Path, log: Path
) -> Forked:
    """``python script`` with these variables and no others, its output at the end of ``log``."""
    end = log.with_suffix(f".{time.monotonic_ns()}.end")
    pid = _forker(tuple(base.items())).fork(
        script=str(script), environment=base | settings, cwd=str(cwd), log=str(log), end=str(end)
    )
    return Forked(pid, end)


def _next_order() -> dict[str, Any] | None:
    """The order that this process is to follow: it was forked for it. None where there are no
    more, or this one is followed by its child, which has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    while line := sys.stdin.buffer.readline():
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order: dict[str, Any] = json.loads(line)
        server = os.fork()
        if not server:
            return order
        os.write(1, b"%d\n" % server)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        _, status = os.waitpid(server, 0)
        Path(order["end"]).write_text(str(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    return None


def _follow(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, theirs)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    sys.argv = [order["script"]]
    sys.path[0] = str(Path(order["script"]).parent)
    runpy.run_path(order["script"], run_name="__main__")


if __name__ == "__main__":
    # As main.py has it where nobody traces.
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]
    for library in LIBRARIES:
        import_module(library)
    if (order := _next_order()) is not None:
        _follow(order)
