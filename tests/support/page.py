"""The chat page as scripts/build-page.sh has built it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.app import HOME

BUILT = HOME / "web" / "page" / "dist"


def require_built_page() -> Path:
    """Skips the test where the page is not built; fails it where CI says that it must be."""
    if not (BUILT / "index.html").is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("the chat page is not built: scripts/build-page.sh")
        pytest.skip("the chat page is not built: scripts/build-page.sh")
    return BUILT
