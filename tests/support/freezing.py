"""A process that stands still, and stands still already when this returns."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

SECONDS = 2.0


def freeze(pid: int) -> None:
    """SIGSTOP. A busy machine takes a moment over it, in which the process may still answer."""
    os.kill(pid, signal.SIGSTOP)
    status = Path(f"/proc/{pid}/stat")
    end = time.monotonic() + SECONDS
    while status.exists() and time.monotonic() < end:
        # "pid (name) T …": the name may hold anything, so what follows its last bracket counts.
        if status.read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.001)
