"""The spool's file: what is acknowledged is in it, whatever ends the process that wrote it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from memory.errors import Unavailable
from memory.records import Summary, Turn
from spool.file import Lodging, SpoolFile
from tests.spool.knowing import about, closed_turn, open_turn
from tests.spool.writer import COPIES
from tests.stores.conftest import connected
from tests.stores.samples import LEASE, OVER, USER, a_turn, an_answer
from tests.stores.test_embedded import a_full_disk

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = Summary(text="so far", upto=2, turns=1, version=3)


async def lodged(file: SpoolFile, *turns: Turn, conversation_id: str = "c1") -> Lodging:
    closed = sum(not turn.open for turn in turns)
    return await file.lodge(
        about(len(turns), closed, id=conversation_id),
        list(turns),
        summary=SUMMARY,
        made=False,
        lease_ms=LEASE,
    )


def rows_of(file: SpoolFile, conversation_id: str) -> int:
    """How many rows of whatever table name it."""
    count = 0
    with closing(sqlite3.connect(file.path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM pragma_table_list")]
        for table in tables:
            if table.startswith("sqlite_"):
                continue
            for row in database.execute(f"SELECT * FROM {table}"):
                count += conversation_id in row
    return count


async def test_a_conversation_that_lodges_goes_on_as_in_any_store(file: SpoolFile) -> None:
    running = open_turn(2, status="running")
    await lodged(file, closed_turn(1), running)
    assert await file.conversations.get("c1", USER) == about(2, 1)
    assert await file.turns_of("c1") == [closed_turn(1), running]
    transcript = await file.load("c1", 50)
    assert [message.seq for message in transcript.messages] == [1, 2, 3]
    assert transcript.summary == SUMMARY
    ended = await file.turns.finish(running, "completed", an_answer(running))
    assert ended is not None
    assert ended.answers == 2
    assert await file.turns.adrift(5) == []


async def test_an_open_turn_that_lodges_has_a_lease_from_now(file: SpoolFile) -> None:
    running = open_turn(1, status="running")
    await file.lodge(about(1, 0), [running], summary=None, made=False, lease_ms=OVER)
    assert await file.turns.adrift(5) == [running]


async def test_what_lodges_here_is_known_again_by_the_next_server_of_the_slot(
    tmp_path: Path,
) -> None:
    async with connected(SpoolFile(tmp_path)) as file:
        assert isinstance(file, SpoolFile)
        ended = open_turn(3, status="completed", answer=an_answer(open_turn(3)), attempt=1)
        first = await lodged(file, closed_turn(2), ended, open_turn(4), conversation_id="c2")
        second = await file.lodge(about(), [], summary=None, made=True, lease_ms=LEASE)
    assert SpoolFile.is_in(tmp_path)
    assert (first.first_n, first.first_place, first.made) == (5, 5, False)
    assert (first.begun, first.ended) == ({"turn-4"}, {"turn-3"})
    assert (second.first_n, second.first_place, second.made) == (1, 1, True)
    async with connected(SpoolFile(tmp_path)) as again:
        assert isinstance(again, SpoolFile)
        assert await again.lodgings() == [first, second]


async def test_what_was_replaced_before_is_known_as_long_as_its_conversation_lodges(
    tmp_path: Path,
) -> None:
    """Also in a file of an older version, which had no place for it."""
    async with connected(SpoolFile(tmp_path)) as file:
        assert isinstance(file, SpoolFile)
        path = file.path
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE superseded")
        database.commit()
    async with connected(SpoolFile(tmp_path)) as file:
        assert isinstance(file, SpoolFile)
        lodge = {"summary": None, "made": False, "lease_ms": LEASE}
        await file.lodge(about(1), [closed_turn(1)], superseded=["gone", "gone too"], **lodge)
        other = closed_turn(1, "c2", id="other", question=a_turn("c2").question)
        await file.lodge(about(1, id="c2"), [other], superseded=["gone there"], **lodge)
    async with connected(SpoolFile(tmp_path)) as again:
        assert isinstance(again, SpoolFile)
        assert await again.superseded_in("gone too") == "c1"
        assert await again.superseded_in("turn-1") is None
        await again.let_go("c1")
        assert await again.superseded_in("gone too") is None
        assert await again.superseded_in("gone there") == "c2"
        assert rows_of(again, "c1") == 0


async def test_what_waits_for_the_permanent_store_is_what_it_does_not_have(
    file: SpoolFile,
) -> None:
    assert await file.spooled_turns() == 0
    ended = open_turn(2, status="completed", answer=an_answer(open_turn(2)), attempt=1)
    await lodged(file, closed_turn(1), ended)
    assert await file.spooled_turns() == 0
    await lodged(file, open_turn(1, "c2", id="begun", message_id="begun"), conversation_id="c2")
    assert await file.spooled_turns() == 1
    await file.turns.insert(a_turn("c1", 3), lease_ms=LEASE)
    await file.turns.insert(a_turn("c2", 2), lease_ms=LEASE)
    assert await file.spooled_turns() == 3
    await file.let_go("c2")
    assert await file.spooled_turns() == 1


async def test_what_is_let_go_leaves_nothing_and_nothing_else_goes(file: SpoolFile) -> None:
    await lodged(file, closed_turn(1), open_turn(2))
    other = closed_turn(1, "c2", id="other", question=a_turn("c2").question)
    await lodged(file, other, conversation_id="c2")
    await file.turns.insert(a_turn("c1", 3), lease_ms=LEASE)
    kept = rows_of(file, "c2")
    assert rows_of(file, "c1") == 5
    await file.let_go("c1")
    await file.let_go("c1")
    assert rows_of(file, "c1") == 0
    assert rows_of(file, "c2") == kept == 3
    assert [each.conversation_id for each in await file.lodgings()] == ["c2"]
    # It may come again.
    again = await lodged(file, closed_turn(1), closed_turn(2), closed_turn(3))
    assert again.first_n == 4
    assert len(await file.turns_of("c1")) == 3


async def test_the_texts_of_what_was_let_go_are_not_on_the_disk_any_more(file: SpoolFile) -> None:
    secret = "the treasure lies beneath the old oak"
    await lodged(file, open_turn(1, content=secret))
    folder = file.path.parent
    assert any(secret.encode() in each.read_bytes() for each in folder.iterdir())
    await file.let_go("c1")
    await file.empty_log()
    assert not any(secret.encode() in each.read_bytes() for each in folder.iterdir())


async def test_a_lodging_that_fails_leaves_nothing(file: SpoolFile) -> None:
    fits = closed_turn(1)
    takes_its_number = closed_turn(1, id="another", question=a_turn("c1").question)
    with pytest.raises(Unavailable):
        await lodged(file, fits, takes_its_number)
    assert rows_of(file, "c1") == 0
    assert await file.lodgings() == []
    await lodged(file, fits)
    assert await file.turns_of("c1") == [fits]


async def test_a_conversation_whose_message_was_sent_again_to_another_one_waits_for_that(
    file: SpoolFile,
) -> None:
    again = open_turn(1, "c2", id="turn-1", message_id="message-1")
    await lodged(file, again, conversation_id="c2")
    other = closed_turn(1, "c3", id="other", question=a_turn("c3").question)
    # Others that lodge in the same moment are not concerned.
    refused, accepted = await asyncio.gather(
        lodged(file, closed_turn(1)),
        lodged(file, other, conversation_id="c3"),
        return_exceptions=True,
    )
    assert isinstance(refused, Unavailable)
    assert isinstance(accepted, Lodging)
    assert rows_of(file, "c1") == 0
    await file.let_go("c2")
    await lodged(file, closed_turn(1))


async def test_a_conversation_that_lodges_already_stays_as_it_is(file: SpoolFile) -> None:
    await lodged(file, closed_turn(1))
    await file.turns.insert(a_turn("c1", 2), lease_ms=LEASE)
    await lodged(file, closed_turn(1), closed_turn(2), closed_turn(3))
    assert [turn.n for turn in await file.turns_of("c1")] == [1, 2]
    assert [each.first_n for each in await file.lodgings()] == [2]


@pytest.mark.parametrize("life", [0, 1])
async def test_nothing_acknowledged_is_lost_when_the_writing_process_is_killed(
    tmp_path: Path, life: int
) -> None:
    name = f"life-{life}"
    command = [sys.executable, "-m", "tests.spool.writer", str(tmp_path), name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(100 + 37 * life)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    # The last line may be torn, and then nobody was told.
    said = [tuple(line.split()) for line in lines if line.endswith("\n")]
    assert len(said) >= 100
    async with connected(SpoolFile(tmp_path)) as file:
        assert isinstance(file, SpoolFile)
        await assert_all_kept(file, said)


async def assert_all_kept(file: SpoolFile, said: list[tuple[str, ...]]) -> None:
    lodgings = {each.conversation_id: each for each in await file.lodgings()}
    for what, conversation_id in said:
        assert conversation_id in lodgings
        turns = await file.turns_of(conversation_id)
        if what != "lodged":
            assert turns[-1].n == COPIES + 1
        if what == "ended":
            assert turns[-1].status == "completed"
            assert turns[-1].answer == an_answer(turns[-1])
    # Whatever is there is there whole, also where nobody was told.
    for conversation_id, lodging in lodgings.items():
        turns = await file.turns_of(conversation_id)
        assert [turn.n for turn in turns][:COPIES] == list(range(1, COPIES + 1))
        assert lodging.first_n == COPIES + 1
        assert (await file.conversation(conversation_id)).user_id == USER


async def test_a_full_disk_is_unavailable_loses_nothing_and_heals(file: SpoolFile) -> None:
    await lodged(file, closed_turn(1))
    kept = await file.turns_of("c1")
    large = [
        closed_turn(n, "c2", id=f"c2/{n}", question=a_turn("c2", content="x" * 50_000).question)
        for n in range(1, 11)
    ]
    with a_full_disk(300_000):
        with pytest.raises(Unavailable):
            await lodged(file, *large, conversation_id="c2")
        with pytest.raises(Unavailable):
            await file.turns.insert(a_turn("c1", 2, content="x" * 500_000), lease_ms=LEASE)
        assert await file.turns_of("c1") == kept
        assert [each.conversation_id for each in await file.lodgings()] == ["c1"]
        assert rows_of(file, "c2") == 0
    await lodged(file, *large, conversation_id="c2")
    assert await file.turns_of("c2") == large


async def test_many_lodge_at_once(file: SpoolFile) -> None:
    names = [f"c{i}" for i in range(50)]
    await asyncio.gather(
        *(
            lodged(file, open_turn(1, name, id=name, message_id=name), conversation_id=name)
            for name in names
        )
    )
    assert {each.conversation_id for each in await file.lodgings()} == set(names)
    assert await file.spooled_turns() == 50
