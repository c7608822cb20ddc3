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

from tests.support import warm
from tests.support.ports import free_port
from tests.support.warm import Forked

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

# With these it is other libraries that are loaded, or another process.
STARTS_COLD = {"WORKERS", "OTEL_EXPORTER_OTLP_ENDPOINT", "AUTH_CHECK"}


class App:
    """``python main.py`` with these settings; a context manager that ends with the process."""

    def __init__(self, data_dir: Path, *, warm: bool = False, **settings: str) -> None:
        """``warm``: it need not import the libraries first (``tests/support/warm.py``)."""
        self.port = free_port()
        self.data_dir = data_dir
        self.settings = {
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir),
            # Nobody listens on port 1: no Redis, unless the test gives one.
            "REDIS_URL": "redis://127.0.0.1:1/0",
            # Each is a request more to the provider, which most who count those don't expect.
            "TITLES": "false",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self._is_warm = warm and sys.platform == "linux" and not STARTS_COLD & settings.keys()
        self._log = data_dir.parent / f"app-{self.port}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self, timeout: float = 60.0) -> App:
        self.process = self._begun()
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

    def _begun(self) -> subprocess.Popen[bytes] | Forked:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        # From another directory than the project's: nobody promised to start it from there.
        script, folder = HOME / "main.py", self.data_dir.parent
        if self._is_warm:
            return warm.start(
                script, base=environment, settings=self.settings, cwd=folder, log=self._log
            )
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(script)],
                env=environment | self.settings,
                cwd=folder,
                stdin=subprocess.DEVNULL,  # a terminal would change what SIGHUP means
                stdout=log,
                stderr=subprocess.STDOUT,
            )

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
