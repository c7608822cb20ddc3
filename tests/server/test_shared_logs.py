"""The logs in Redis: begun once, trimmed, lost and found again, by several servers at a time."""

from __future__ import annotations

import asyncio

import pytest
import redis

from memory.records import Position
from server.feed import events
from server.feed.keys import (
    BEGIN_MS,
    LOG_SECONDS,
    events_channel,
)
from server.feed.log import Checkpoint, LiveTurn
from server.feed.shared import Heard, SharedLogs
from tests.support.shared_logs import (
    EMPTY,
    KEYS,
    RUNNING,
    Ear,
    Reading,
    append,
    begun,
    found,
)
from tests.support.turns import CONVERSATION, a_turn
from tests.support.wait import wait_until

# How long they live


async def test_every_key_lives_for_a_while_only_whatever_is_done(
    us: SharedLogs, keys: redis.Redis
) -> None:
    def check() -> None:
        for key in keys.scan_iter():
            assert 0 < keys.pttl(key) <= 1000 * LOG_SECONDS, key

    async def read() -> Checkpoint:
        assert 0 < keys.pttl(KEYS.begin) <= BEGIN_MS
        check()
        return EMPTY

    await us.begin(CONVERSATION, read)
    check()
    assert keys.exists(KEYS.begin) == 0
    await append(us, *RUNNING)
    check()
    log = await found(us)
    await us.since(CONVERSATION, log.epoch, 0)
    check()
    await us.begin(CONVERSATION, read, replacing=log.epoch)
    check()
    await us.signal(b"{}")
    check()
    await us.erase(CONVERSATION)
    assert keys.keys() == []


async def test_a_log_lives_on_with_every_event_and_every_opening(
    us: SharedLogs, keys: redis.Redis
) -> None:
    await begun(us)
    for use in (append(us, *RUNNING), us.tail(CONVERSATION)):
        keys.expire(KEYS.log, 10)
        await use
        assert keys.ttl(KEYS.log) > 10


# Beginning


async def test_of_two_who_begin_a_log_at_once_one_does_and_both_have_it(
    us: SharedLogs, them: SharedLogs
) -> None:
    readings = [Reading(), Reading()]
    await asyncio.gather(us.begin(CONVERSATION, readings[0]), them.begin(CONVERSATION, readings[1]))
    ours, theirs = await found(us), await found(them)
    assert ours.epoch == theirs.epoch
    assert readings[0].reads + readings[1].reads == 1


async def test_of_many_who_begin_a_log_at_once_one_reads_the_store(
    us: SharedLogs, keys: redis.Redis
) -> None:
    keys.config_resetstat()
    reads = 0

    def all_have_tried() -> bool:
        return bool(keys.info("commandstats")["cmdstat_set"]["calls"] >= 10)

    async def read() -> Checkpoint:
        nonlocal reads
        reads += 1
        await wait_until(all_have_tried, "all have tried to begin it")
        return EMPTY

    await asyncio.gather(*(us.begin(CONVERSATION, read) for _ in range(10)))
    assert reads == 1


async def test_a_log_that_is_there_is_not_begun_again(us: SharedLogs) -> None:
    first = await begun(us)
    assert (await begun(us, Checkpoint(7, Position(turn=7), []))).epoch == first.epoch


async def test_an_event_that_finds_no_log_has_the_store_read_again(
    us: SharedLogs, them: SharedLogs
) -> None:
    later = Checkpoint(1, Position(turn=1), [LiveTurn("turn-1", 1, 1, "queued")])
    reads = 0

    async def read() -> Checkpoint:
        nonlocal reads
        reads += 1
        if reads > 1:
            return later
        assert await append(them, events.created(a_turn(1, "queued"))) == ["gone"]
        return EMPTY

    await us.begin(CONVERSATION, read)
    assert reads == 2
    assert (await found(us)).n == 1


async def test_whoever_read_the_store_for_longer_than_its_lease_reads_it_again(
    us: SharedLogs, them: SharedLogs, keys: redis.Redis
) -> None:
    reads = 0

    async def read() -> Checkpoint:
        nonlocal reads
        reads += 1
        if reads == 1:
            keys.delete(KEYS.begin)  # it has expired
            await begun(them)
        return Checkpoint(7, Position(turn=7), [])

    await us.begin(CONVERSATION, read)
    assert (await found(us)).n == 0


async def test_a_beginner_that_died_is_waited_for(us: SharedLogs, keys: redis.Redis) -> None:
    keys.set(KEYS.begin, "somebody", px=BEGIN_MS)
    await begun(us)


async def test_what_the_store_raises_reaches_who_wanted_to_begin(us: SharedLogs) -> None:
    async def read() -> Checkpoint:
        raise LookupError("the store is away")

    with pytest.raises(LookupError):
        await us.begin(CONVERSATION, read)


async def test_a_log_is_replaced_once_by_all_who_find_that_it_lacks_something(
    us: SharedLogs, them: SharedLogs
) -> None:
    old = await begun(us)
    reading = Reading()
    await asyncio.gather(
        *(logs.begin(CONVERSATION, reading, replacing=old.epoch) for logs in (us, them, us))
    )
    new = await found(us)
    assert new.epoch != old.epoch
    assert reading.reads == 1


async def test_a_log_begins_in_the_middle_of_an_answer(us: SharedLogs, them: SharedLogs) -> None:
    live = LiveTurn("turn-1", 1, 1, "running", 1, ["half an", " answer"], 2)
    await begun(us, Checkpoint(1, Position(turn=1), [live]))
    [shown] = (await found(them)).moment().turns
    assert (shown["text"], shown["next_index"]) == ("half an answer", 2)
    assert await append(us, events.delta(a_turn(1), 2, "!")) == ["ok", "take"]
    [shown] = (await found(them)).moment().turns
    assert (shown["text"], shown["next_index"]) == ("half an answer!", 3)


# Hearing


async def test_whoever_listens_hears_each_entry_as_the_log_has_it(
    us: SharedLogs, them: SharedLogs
) -> None:
    log = await begun(us)
    ear = Ear()
    await them.listen(CONVERSATION, ear)
    await append(us, *RUNNING, RUNNING[0])
    await append(us, events.delta(a_turn(1), 0, "Zeile\nnoch eine – „ja“"))
    heard = await ear.hears(3)
    assert heard == await us.since(CONVERSATION, log.epoch, 0)
    [_, _, delta] = heard
    assert delta is not None
    assert delta.fields()["text"] == "Zeile\nnoch eine – „ja“"


async def test_whoever_listens_hears_that_a_log_is_replaced_and_that_it_is_gone(
    us: SharedLogs, them: SharedLogs, keys: redis.Redis
) -> None:
    old = await begun(us)
    ear = Ear()
    await them.listen(CONVERSATION, ear)
    await us.begin(CONVERSATION, Reading(), replacing=old.epoch)
    new = await found(us)
    assert await ear.hears(1) == [Heard(new.epoch, 0, ["begun", 0, ""], "", b"")]
    keys.publish(events_channel(CONVERSATION), "gone")
    assert (await ear.hears(2))[1] is None
    them.leave(CONVERSATION)
    await wait_until(
        lambda: keys.pubsub_numsub(events_channel(CONVERSATION))[0][1] == 0, "it has left"
    )


async def test_a_signal_reaches_every_server(us: SharedLogs, them: SharedLogs) -> None:
    told: list[tuple[str, bytes]] = []
    us.listen_to_signals(lambda message: told.append(("us", message)))
    them.listen_to_signals(lambda message: told.append(("them", message)))

    async def everybody_heard() -> bool:
        await us.signal(b"work")
        return {("us", b"work"), ("them", b"work")} <= set(told)

    await wait_until(everybody_heard, "a signal has reached both")
