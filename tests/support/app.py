"""The server as a process, as an operator would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

HOME = Path(__file__).resolve().parents[2]

# What the developer has in the environment must not reach the server under test.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")

# For who sends faster than one user may, and is here to measure or to break something else.
UNLIMITED = {
    "RATE_LIMIT_MESSAGES_PER_MINUTE": "0",
    "RATE_LIMIT_CALLS_PER_MINUTE": "0",
    "MAX_CONNECTIONS_PER_USER": "0",
    "MAX_OPEN_CONVERSATIONS": "0",
    "MAX_QUEUED_TURNS_PER_USER": "0",
}


class App:
    """``python main.py`` with these settings; a context manager that ends with the process."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.port = free_port()
        self.data_dir = data_dir
        self.settings = {
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir),
            # Nobody listens on port 1: no Redis, unless the test gives one.
            "REDIS_URL": "redis://127.0.0.1:1/0",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._log = data_dir.parent / f"app-{self.port}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self, timeout: float = 60.0) -> App:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        # From another directory than the project's: nobody promised to start it from there.
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HOME / "main.py")],
                env=environment | self.settings,
                cwd=self.data_dir.parent,
                stdin=subprocess.DEVNULL,  # a terminal would change what SIGHUP means
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at its start:\n{self.output}")
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=1):
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def __enter__(self) -> App:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        if self.process is not None:
            self.kill()
