"""What the README prints works as printed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.acceptance.conftest import StartApp
from tests.support.app import HOME
from tests.support.node import JS_FOLDER, require_node
from tests.support.redis_server import RedisServer

README = (HOME / "README.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    """The one block of code in this language."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return str(code)


async def run(*command: str, folder: Path, **environment: str) -> str:
    """What a script prints; it must end by itself, and well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_script_with_a_stock_client_prints_an_answer_and_exits(
    start_app: StartApp, tmp_path: Path
) -> None:
    node = require_node()
    app = start_app()
    code = example("js")
    assert len([line for line in code.splitlines() if line]) == 10
    assert "http://127.0.0.1:8000" in code
    (tmp_path / "chat.mjs").write_text(code.replace("http://127.0.0.1:8000", app.url))
    (tmp_path / "node_modules").symlink_to(JS_FOLDER / "node_modules")
    printed = await run(node, "chat.mjs", folder=tmp_path)
    assert printed.startswith("Hello! I'm the offline demo model")
    assert "Nice to meet you, Ada." in printed


async def test_the_script_with_memory_alone_remembers_without_redis(tmp_path: Path) -> None:
    printed = await run_with_memory(tmp_path, "redis://127.0.0.1:1/0")
    assert printed == "human: My name is Ada.\nai: Hello, Ada.\n"


async def test_the_script_with_memory_alone_remembers_with_redis(tmp_path: Path) -> None:
    with RedisServer() as redis:
        printed = await run_with_memory(tmp_path, redis.url)
    assert printed == "human: My name is Ada.\nai: Hello, Ada.\n"


async def run_with_memory(folder: Path, redis_url: str) -> str:
    assert "`.venv/bin/python remember.py`" in README
    (folder / "remember.py").write_text(example("python"))
    environment = {"PYTHONPATH": str(HOME), "REDIS_URL": redis_url}
    return await run(sys.executable, "remember.py", folder=folder, **environment)


def test_the_start_up_lines_are_those_printed(start_app: StartApp) -> None:
    app = start_app()
    data = f"embedded (SQLite) in {app.data_dir}/mnemosio.db"
    printed = app.output.replace(data, "embedded (SQLite) in /home/ada/mnemosio/data/mnemosio.db")
    printed = printed.replace(f":{app.port}\n", ":8000\n").replace(
        "127.0.0.1:1/0", "localhost:6379/0"
    )
    for line in start_up_lines():
        assert line in printed.splitlines()


def start_up_lines() -> list[str]:
    block = re.search(r"^```text\n(Mnemosio .*?)^```", README, re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1].splitlines()


def test_its_settings_and_its_commands_exist() -> None:
    known = (HOME / ".env.example").read_text(encoding="utf-8")
    table = README.split("## Settings")[1].split("## Commands")[0]
    names = re.findall(r"`([A-Z][A-Z_]+)`", table)
    assert len(names) > 15
    for name in names:
        assert f"# {name}=" in known, name
    targets = re.findall(r"^([a-z]+):", (HOME / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^\| `make ([a-z]+)` \|", README, re.MULTILINE) == targets


def test_what_it_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (HOME / link).exists(), link
