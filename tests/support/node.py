"""Node, with the stock Socket.IO client beside it: see scripts/test-servers.sh."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

JS_FOLDER = Path(__file__).resolve().parent.parent / "js"
"""Scripts that ``require("socket.io-client")`` find it when they lie or run here."""


def require_node(folder: Path = JS_FOLDER) -> str:
    """The node on the PATH, else the one in the virtual environment.

    Skips the test where node is missing, or what the folder needs; fails it where CI says they
    must be there.
    """
    found = shutil.which("node") or shutil.which("node", path=Path(sys.executable).parent)
    if found and (folder / "node_modules" / "socket.io-client").is_dir():
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("there is no node with socket.io-client on this machine")
    pytest.skip("there is no node with socket.io-client on this machine")
