"""The log's scripts in Redis, one an operation. ``rules.lua`` is what all begin with."""

from __future__ import annotations

from pathlib import Path

from redislink.link import Script

_FOLDER = Path(__file__).parent


def _on_a_log(name: str) -> Script:
    return Script(_FOLDER / "rules.lua", _FOLDER / f"{name}.lua")


PROBE = Script(_FOLDER / "probe.lua")
APPEND = _on_a_log("append")
BEGIN = _on_a_log("begin")
DROP = _on_a_log("drop")
SINCE = _on_a_log("since")
TAIL = _on_a_log("tail")
