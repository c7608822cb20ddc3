"""What is pure in the page, tested in Node: web/page/test."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.app import HOME
from tests.support.node import require_node

PAGE = HOME / "web" / "page"


def by_node(name: str, folder: Path) -> None:
    node = require_node(PAGE)
    bundle = folder / f"{name}.mjs"
    bundler = [node, "node_modules/rolldown/bin/cli.mjs", f"test/{name}.ts"]
    options = ["--platform", "node", "--format", "esm", "--file", str(bundle)]
    subprocess.run([*bundler, *options], cwd=PAGE, check=True, capture_output=True)
    done = subprocess.run([node, "--test", str(bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_markdown_is_read_safely_and_the_same_however_it_comes(tmp_path: Path) -> None:
    by_node("markdown.test", tmp_path)


def test_answers_are_parted_and_what_was_sought_is_marked(tmp_path: Path) -> None:
    by_node("answers.test", tmp_path)
