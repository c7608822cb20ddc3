"""What the edge has Redis do."""

from __future__ import annotations

from pathlib import Path

from redislink.link import Script

TAKE = Script(Path(__file__).parent / "take.lua")
