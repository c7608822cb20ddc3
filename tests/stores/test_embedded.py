"""The embedded store and its file: crashes, neighbours, a full disk, a file that won't do."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from embedded.errors import Unusable
from embedded.store import EmbeddedStore
from memory.errors import Unavailable
from tests.stores.conftest import connected
from tests.stores.samples import USER, a_conversation, a_turn, an_exchange, inserted

ROOT = Path(__file__).resolve().parents[2]


def writer(file: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.stores.writer", str(file), name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def assert_all_kept(file: Path, conversation_ids: list[str]) -> None:
    async with connected(EmbeddedStore(file)) as store:
        for conversation_id in conversation_ids:
            assert await store.turns.last(conversation_id) is not None, conversation_id


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    for life in range(3):
        with writer(file, f"life-{life}", 20_000) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(200)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        # The last line may be torn, and then nobody was told.
        acknowledged = [line.strip() for line in lines if line.endswith("\n")]
        assert len(acknowledged) >= 200
        await assert_all_kept(file, acknowledged)


async def test_several_processes_that_begin_at_once_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    processes = [writer(file, f"process-{i}", 150) for i in range(3)]
    acknowledged: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        acknowledged += output.split()
    assert len(acknowledged) == 450
    await assert_all_kept(file, acknowledged)


async def test_a_file_locked_for_long_is_unavailable_and_works_again_afterwards(
    tmp_path: Path,
) -> None:
    file = tmp_path / "store.db"
    async with connected(EmbeddedStore(file)) as store:
        kept = await inserted(store, a_turn("c1"))
        with closing(sqlite3.connect(file, isolation_level=None)) as neighbour:
            neighbour.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await store.turns.insert(a_turn("c2"), lease_ms=1_000)
            with pytest.raises(Unavailable):
                await store.ping()
            assert await store.turns.last("c1") == kept  # reading waits for nobody
            neighbour.execute("ROLLBACK")
        await store.turns.insert(a_turn("c2"), lease_ms=1_000)


async def test_a_write_that_sqlite_cant_express_fails_alone(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        turns = [a_turn(f"c{i}", created_at=2**70 if i == 2 else i) for i in range(5)]
        outcomes = await asyncio.gather(
            *(inserted(store, turn) for turn in turns), return_exceptions=True
        )
        assert isinstance(outcomes.pop(2), OverflowError)
        turns.pop(2)
        assert outcomes == turns
        assert [await store.turns.last(turn.conversation_id) for turn in turns] == turns


@contextmanager
def a_full_disk(largest_file: int) -> Iterator[None]:
    """No file of this process may grow past so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def test_a_full_disk_is_unavailable_loses_nothing_and_heals(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        kept = await inserted(store, a_turn("kept"))
        refused = a_turn("refused", content="x" * 500_000)
        with a_full_disk(300_000):
            with pytest.raises(Unavailable):
                await store.turns.insert(refused, lease_ms=1_000)
            assert await store.turns.last("kept") == kept
            assert await store.turns.last("refused") is None
        await store.turns.insert(refused, lease_ms=1_000)
        assert await store.turns.last("refused") == refused


def not_a_database(file: Path) -> None:
    file.write_text("Dear diary, today I was mistaken for a database. " * 100)


def a_damaged_one(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE turns (id TEXT)")
        database.commit()
    content = bytearray(file.read_bytes())
    content[100:4000] = b"\xff" * 3900  # the page that lists the tables
    file.write_bytes(content)


def a_folder(file: Path) -> None:
    file.mkdir()


def one_from_the_future(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (not_a_database, "restore a backup"),
        (a_damaged_one, "restore a backup"),
        (a_folder, "DATA_DIR"),
        (one_from_the_future, "newer version"),
    ],
)
async def test_a_file_that_wont_do_is_refused_with_advice(
    tmp_path: Path, spoil: Callable[[Path], None], advice: str
) -> None:
    file = tmp_path / "store.db"
    spoil(file)
    store = EmbeddedStore(file)
    with pytest.raises(Unusable, match=advice) as refusal:
        await store.connect()
    assert str(file) in str(refusal.value)
    await store.close()


async def test_a_place_that_cant_be_written_is_refused_with_advice(tmp_path: Path) -> None:
    # A file where a folder should be: what root may not write either.
    (tmp_path / "occupied").write_text("")
    with pytest.raises(Unusable, match="DATA_DIR"):
        await EmbeddedStore(tmp_path / "occupied" / "store.db").connect()


async def test_the_file_is_for_its_owners_eyes_only(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "new" / "store.db")) as store:
        await store.ping()
        files = list((tmp_path / "new").iterdir())
        assert len(files) == 3  # the file, its log and the log's index
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_purged_conversations_text_is_in_no_file_any_more(tmp_path: Path) -> None:
    secret = "the treasure lies beneath the old oak"
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        conversation_id = await a_conversation(store)
        await inserted(store, a_turn(conversation_id, content=secret * 1_000))
        await store.conversations.rename(conversation_id, USER, secret)
        assert any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())
        await store.conversations.delete(conversation_id, USER)
        await store.conversations.purge(conversation_id)
        for file in tmp_path.iterdir():
            assert secret.encode() not in file.read_bytes(), file


async def test_a_closed_store_is_unavailable_and_opens_again(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    with pytest.raises(Unavailable, match="not open"):
        await store.turns.last("c1")
    async with connected(store):
        kept = await an_exchange(store, "c1", 1)
    for refused in (store.turns.last("c1"), store.ping(), store.conversations.get("c1", USER)):
        with pytest.raises(Unavailable, match="not open"):
            await refused
    await store.close()
    async with connected(store):
        await store.connect()
        assert await store.turns.last("c1") == kept


def test_a_store_opens_in_one_event_loop_after_another(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")

    async def visit() -> None:
        async with connected(store):
            await asyncio.gather(*(store.ping() for _ in range(5)))

    asyncio.run(visit())
    asyncio.run(visit())


def test_its_description_names_the_file() -> None:
    assert "some/store.db" in EmbeddedStore(Path("some/store.db")).description
