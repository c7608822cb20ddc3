"""Others' servers, each installed once, on demand, into a cache folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from benchmarks.report import Missing
from benchmarks.servers import HOME

PEERS = HOME / "benchmarks" / "peers"
INSTALL_SECONDS = 600.0
SOON = ("--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000")
"""Without a network npm is to give up, as the others can be measured without this peer."""
DONE = "installed"
"""A file in the folder, which holds what was installed: another version is installed anew."""


async def node() -> list[str]:
    """The command that starts bare Node's server. Raises ``Missing``."""
    binary, npm = _node_and_npm()
    # None of the packages needs a script, and none should run here.
    place = await installed(
        "node", "package-lock.json", [*npm, "ci", "--ignore-scripts", "--silent", *SOON]
    )
    return [binary, str(place / "server.mjs")]


def _node_and_npm() -> tuple[str, list[str]]:
    """Those on the PATH, else the ones that scripts/test-servers.sh has put into .venv."""
    binary, npm = shutil.which("node"), shutil.which("npm")
    if binary is not None and npm is not None:
        return binary, [npm]
    binary = shutil.which("node", path=Path(sys.executable).parent)
    if binary is None:
        raise Missing("there is no Node with npm (`make test` gets one)")
    bundled = Path(binary).resolve().parents[1] / "lib" / "node_modules" / "npm"
    return binary, [binary, str(bundled / "bin" / "npm-cli.js")]


async def chainlit() -> list[str]:
    """The command that starts Chainlit's server, in ``folder("chainlit")``. Raises ``Missing``."""
    bin_folder = folder("chainlit") / "venv" / "bin"
    await installed(
        "chainlit",
        "requirements.txt",
        [sys.executable, "-m", "venv", "--clear", "venv"],
        [str(bin_folder / "pip"), "install", "-qq", "-r", "requirements.txt"],
    )
    return [str(bin_folder / "chainlit"), "run", "app.py", "--headless"]


def folder(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "mnemosio-benchmarks", name)


async def installed(name: str, wanted: str, *commands: list[str]) -> Path:
    """The peer's folder, with its files as they are here; ``wanted`` is the one with versions."""
    place = folder(name)
    place.mkdir(parents=True, exist_ok=True)
    for file in (PEERS / name).iterdir():
        shutil.copy(file, place)
    versions = (place / wanted).read_text()
    done = place / DONE
    if not (done.is_file() and done.read_text() == versions):
        for command in commands:
            await _run(name, command, place)
        done.write_text(versions)
    return place


async def _run(name: str, command: list[str], place: Path) -> None:
    print(f"({name}: {' '.join(command[:2])} …)", file=sys.stderr, flush=True)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=place, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Missing(f"{name} could not be installed in {INSTALL_SECONDS:.0f} s") from None
    if code != 0:
        raise Missing(f"{name} could not be installed")
