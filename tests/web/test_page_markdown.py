"""How the page reads Markdown, tested in Node: web/page/test/markdown.test.ts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.app import HOME
from tests.support.node import require_node

PAGE = HOME / "web" / "page"


def test_markdown_is_read_safely_and_the_same_however_it_comes(tmp_path: Path) -> None:
    node = require_node(PAGE)
    bundle = tmp_path / "markdown.test.mjs"
    bundler = [node, "node_modules/rolldown/bin/cli.mjs", "test/markdown.test.ts"]
    options = ["--platform", "node", "--format", "esm", "--file", str(bundle)]
    subprocess.run([*bundler, *options], cwd=PAGE, check=True, capture_output=True)
    done = subprocess.run([node, "--test", str(bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
