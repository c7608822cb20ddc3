"""A real nginx that a test starts, with a configuration of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.app import HOME

# What belongs around a site's configuration, with nothing outside the test's folder.
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


def require_nginx() -> str:
    """Skips the test where there is none; fails it where CI says that there must be one."""
    bundled = HOME / ".venv" / "bin" / "nginx"
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None and os.access(bundled, os.X_OK):
        found = str(bundled)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no nginx on this machine")
        pytest.skip("there is no nginx on this machine")
    return found


class Nginx:
    """A context manager: started on entering, ended on leaving. ``port`` is one it listens on."""

    def __init__(self, folder: Path, site: str, port: int) -> None:
        self._folder = folder
        self._port = port
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(AROUND.format(folder=folder, site=site))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        with (self._folder / "nginx.log").open("wb") as log:
            self._process = subprocess.Popen(
                [require_nginx(), "-p", str(self._folder), "-c", str(self._configuration)],
                stderr=log,
            )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/healthz", timeout=1).close()
            except urllib.error.HTTPError:
                return self
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError(f"nginx did not start: {(self._folder / 'nginx.log').read_text()}")

    def __exit__(self, *_: Any) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
