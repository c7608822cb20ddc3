"""The Dockerfile without a container engine: what it copies is enough, and works as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.app import HOME
from tests.support.ports import free_port


def steps() -> list[tuple[str, str]]:
    """Each instruction with what it says, its lines joined."""
    text = re.sub(r"^#.*\n", "", (HOME / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines if line]


def said(instruction: str) -> list[str]:
    return [what for name, what in steps() if name == instruction]


def copied() -> Iterator[tuple[str, str]]:
    """From the checkout, into whichever stage."""
    for what in said("COPY"):
        if not what.startswith("--from="):
            *sources, target = shlex.split(what)
            yield from ((source, target) for source in sources)


def built() -> Iterator[tuple[str, str]]:
    """From the stage that makes the page, which has ``web`` at its root."""
    for what in said("COPY"):
        if what.startswith("--from="):
            stage, source, target = shlex.split(what)
            assert stage == "--from=page"
            yield source.removeprefix("/"), target


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for what in said("ENV") for pair in shlex.split(what))


IGNORED = [
    line
    for line in (HOME / ".dockerignore").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_what_it_copies_is_there_and_is_not_ignored() -> None:
    sources = [source for source, _ in copied()]
    assert all((HOME / source).exists() for source in sources)
    everything, *rest = IGNORED
    assert everything == "*"
    # What is let in again is what is copied, and nothing beside it: no .env, no data, no .git.
    assert sorted(line[1:] for line in rest if line.startswith("!")) == sorted(sources)


def test_it_is_layered_for_the_cache_and_does_not_run_as_root() -> None:
    order = [name for name, _ in steps()]
    [page, last] = [i for i, name in enumerate(order) if name == "FROM"]
    assert page == 0
    texts = [what for _, what in steps()]
    install = next(i for i, what in enumerate(texts) if "pip install" in what)
    before = [what for name, what in steps()[last:install] if name == "COPY"]
    assert before == ["requirements.txt ./"]
    [user] = said("USER")
    assert user.isdigit()
    assert int(user) > 0
    assert "RUN" not in order[order.index("USER") :]
    assert f"--uid {user}" in " ".join(said("RUN"))
    assert f"--owner={user}" in " ".join(said("RUN"))
    assert said("VOLUME") == [environment()["DATA_DIR"]]
    assert said("EXPOSE") == [environment()["PORT"]]
    assert environment()["HOST"] == "0.0.0.0"
    for command in [*said("CMD"), said("HEALTHCHECK")[0].split("CMD ", 1)[1]]:
        assert json.loads(command)[0] == "python", "the exec form, or signals reach a shell"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with what the image has in its own."""
    folder = tmp_path / "app"
    folder.mkdir()

    def ignored(_: str, names: list[str]) -> list[str]:
        patterns = [line.removeprefix("**/") for line in IGNORED if line.startswith("**/")]
        return [name for name in names if any(fnmatch(name, each) for each in patterns)]

    for source, target in copied():
        if target.startswith("/"):
            continue  # of the page's stage
        if (HOME / source).is_dir():
            shutil.copytree(HOME / source, folder / target, ignore=ignored)
        else:
            shutil.copy(HOME / source, folder / target)
    for source, target in built():
        if (HOME / source).is_dir():  # where there is no Node it is not built
            shutil.copytree(HOME / source, folder / target)
    return folder


def ran(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    program, *arguments = json.loads(command)
    assert program == "python"
    with (folder.parent / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def test_it_starts_from_what_is_copied_alone_is_healthy_and_stops(image: Path) -> None:
    files = sorted(image.rglob("*"))
    here = {
        "PATH": os.environ["PATH"],
        "PORT": str(free_port()),
        "DATA_DIR": str(image / "../data"),
    }
    settings = environment() | here | {"REDIS_URL": "redis://127.0.0.1:1/0"}
    [healthy] = [what.split("CMD ", 1)[1] for what in said("HEALTHCHECK")]
    [start] = said("CMD")

    assert ran(healthy, image, settings).wait(20) != 0
    server = ran(start, image, settings)
    try:
        end = time.monotonic() + 60
        while ran(healthy, image, settings).wait(20) != 0:
            assert server.poll() is None, (image / "../output").read_text()
            assert time.monotonic() < end, "it gets healthy"
        [stop] = said("STOPSIGNAL")
        server.send_signal(signal.Signals[stop])
        assert server.wait(20) == 0
    finally:
        server.kill()
    output = (image / "../output").read_text()
    assert f"http://0.0.0.0:{here['PORT']}" in output
    assert sorted(image.rglob("*")) == files, "it writes nowhere but in DATA_DIR"
