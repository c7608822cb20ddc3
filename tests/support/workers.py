"""The workers of a server that has WORKERS above 1: as processes, and whom they serve."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import aiohttp

from tests.support.app import App
from tests.support.client import Client
from tests.support.wait import wait_until

BANNER = "Ctrl+C stops it"


async def all_ready(app: App) -> None:
    await wait_until(lambda: BANNER in app.output, "all workers are ready", timeout=60)


def pids(app: App) -> dict[int, int]:
    """The processes of the workers, by their number."""
    assert app.process is not None
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # no process, or one that has ended meanwhile
        for word in words:
            if word.startswith("--worker=") and int(parent) == app.process.pid:
                found[int(word.removeprefix("--worker=").split(",")[0])] = int(folder.name)
    return found


def alive(processes: Iterable[int]) -> list[int]:
    """Those that live: what nobody has waited for yet does not."""
    return [pid for pid in processes if _state(pid) not in ("Z", "")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def rss(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def serving(app: App, client: Client) -> int:
    """The number of the worker that has this client now, as the log has it."""
    user = re.escape(client.session["user_id"])
    return int(re.findall(rf"worker=(\d+) action=connected .*user_id={user}", app.output)[-1])


async def connected_to(
    app: App, number: int, token: str | None = None, *, reconnection: bool = False
) -> Client:
    """A client of this worker: the kernel chooses, so it connects until it is so."""
    for _ in range(100):
        client = await Client(app.url, token, reconnection=reconnection).connect()
        if serving(app, client) == number:
            return client
        await client.close()
    raise AssertionError(f"worker {number} gets no connection")


async def measures(app: App) -> str:
    """A scrape, on a connection of its own: of whichever worker."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
        session.get(f"{app.url}/metrics") as response,
    ):
        assert response.status == 200
        return await response.text()


def by_worker(text: str, name: str) -> dict[int, float]:
    """The samples of a metric that has no labels but the worker's."""
    found = re.findall(rf'^{name}{{worker="(\d+)"}} (\S+)$', text, re.MULTILINE)
    return {int(number): float(value) for number, value in found}
