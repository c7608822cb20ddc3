"""The spool's scripts in Redis."""

from __future__ import annotations

from pathlib import Path

from redislink.link import Script

_FOLDER = Path(__file__).parent

NOTE = Script(_FOLDER / "note.lua")
REWRITE = Script(_FOLDER / "rewrite.lua")
TAKE = Script(_FOLDER / "take.lua")
LOOK = Script(_FOLDER / "look.lua")
RELEASE = Script(_FOLDER / "release.lua")
