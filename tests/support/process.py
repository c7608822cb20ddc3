"""What the operating system knows of a server's process."""

from __future__ import annotations

from pathlib import Path

from tests.support.app import App


def resident_mb(app: App) -> float:
    assert app.process is not None
    pages = int(Path(f"/proc/{app.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def connections_of(app: App) -> int:
    """The connections that the server holds open, also those whose client has gone."""
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        # 01 is ESTABLISHED, 08 is CLOSE_WAIT.
        held += local.endswith(f":{app.port:04X}") and state in ("01", "08")
    return held
