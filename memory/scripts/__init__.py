"""The memory's scripts in Redis, one an operation. ``trio.lua`` is what all begin with but one."""

from __future__ import annotations

from pathlib import Path

from redislink.link import Script

_FOLDER = Path(__file__).parent


def _on_trio(name: str) -> Script:
    return Script(_FOLDER / "trio.lua", _FOLDER / f"{name}.lua")


ADD = _on_trio("add")
CHANGE_ALONE = _on_trio("change_alone")
GET = _on_trio("get")
INSTALL = _on_trio("install")
PEEK = _on_trio("peek")
READ_ALONE = _on_trio("read_alone")
RELEASE = Script(_FOLDER / "release.lua")
SUMMARY = _on_trio("summary")
