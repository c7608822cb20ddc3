"""What a log in Redis proves of itself: trimmed, broken, lost, or written to by newer versions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import redis

from memory.records import Position, ToolUse
from redislink.link import RedisAway
from server.feed import events
from server.feed.keys import (
    BEGIN_MS,
    MAX_BYTES,
    MAX_EVENTS,
    SIGNALS,
    events_channel,
    feed_keys,
)
from server.feed.line import Write
from server.feed.log import Checkpoint, LiveTurn
from server.feed.scripts import APPEND
from server.feed.shared import SharedLogs
from tests.support.redis_server import RedisServer, Relay
from tests.support.shared_logs import (
    KEYS,
    RUNNING,
    Ear,
    Reading,
    append,
    begun,
    found,
    say,
    shared_logs,
)
from tests.support.turns import CONVERSATION, a_turn
from tests.support.wait import wait_until

# What is read of them


async def test_what_was_missed_is_read_up_to_where_it_is_asked_for(us: SharedLogs) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    await say(us, 300)

    async def numbers(after: int, upto: int | None = None) -> list[int]:
        heard = await us.since(CONVERSATION, log.epoch, after, upto)
        assert heard is not None
        return [each.number for each in heard]

    assert await numbers(0) == list(range(1, 303))
    assert await numbers(298, 300) == [299, 300]
    assert await numbers(302) == []


async def test_what_cannot_be_proved_to_be_all_is_gone(us: SharedLogs) -> None:
    old = await begun(us)
    await append(us, *RUNNING)
    assert await us.since(CONVERSATION, old.epoch, 3) is None
    assert await us.since("another", old.epoch, 0) is None
    await us.begin(CONVERSATION, Reading(), replacing=old.epoch)
    assert await us.since(CONVERSATION, old.epoch, 0) is None


async def test_a_log_keeps_the_latest_events_and_nothing_else_is_proved(
    us: SharedLogs, keys: redis.Redis
) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    text = await say(us, MAX_EVENTS + 500, said_every=256)
    last = MAX_EVENTS + 502
    assert MAX_EVENTS <= keys.xlen(KEYS.log) <= MAX_EVENTS + 200
    heard = await us.since(CONVERSATION, log.epoch, last - MAX_EVENTS)
    assert heard is not None
    assert [each.number for each in heard] == list(range(last - MAX_EVENTS + 1, last + 1))
    for number in (0, 1, 100, 300):
        assert await us.since(CONVERSATION, log.epoch, number) is None
    [shown] = (await found(us)).moment().turns
    assert shown["text"] == text


async def test_a_log_keeps_no_more_text_than_it_may(us: SharedLogs, keys: redis.Redis) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    await say(us, 50, "x" * 100_000)
    kept = sum(len(fields[b"b"]) for _, fields in keys.xrange(KEYS.log))
    assert MAX_BYTES / 2 < kept <= MAX_BYTES * 9 / 8
    assert await us.since(CONVERSATION, log.epoch, 10) is None
    heard = await us.since(CONVERSATION, log.epoch, 40)
    assert heard is not None
    assert len(heard) == 12


async def test_an_event_larger_than_a_log_may_be_is_kept_all_the_same(us: SharedLogs) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    await say(us, 2, "x" * (MAX_BYTES + 1))
    heard = await us.since(CONVERSATION, log.epoch, 3)
    assert heard is not None
    assert [each.number for each in heard] == [4]


async def test_an_answer_whose_beginning_is_trimmed_away_can_be_taken_up_again(
    us: SharedLogs, them: SharedLogs
) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    text = await say(us, 30, "x" * 100_000)
    assert await them.tail(CONVERSATION) is None
    live = LiveTurn("turn-1", 1, 1, "running", 1, [text], 30)
    await them.begin(CONVERSATION, Reading(Checkpoint(1, Position(turn=1), [live])))
    new = await found(them)
    assert new.epoch != log.epoch
    assert new.live["turn-1"].shape()["text"] == text
    assert await append(us, events.delta(a_turn(1), 30, "!")) == ["ok", "take"]


# What goes wrong


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
async def test_a_key_of_another_type_is_no_log_and_a_new_one_begins(
    us: SharedLogs, keys: redis.Redis, kind: str
) -> None:
    def poison() -> None:
        keys.delete(KEYS.log)
        if kind == "string":
            keys.set(KEYS.log, "poison")
        elif kind == "list":
            keys.rpush(KEYS.log, "poison")
        else:
            keys.hset(KEYS.log, "field", "poison")

    await is_no_log(us, poison)


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "5",
        "null",
        "true",
        '"text"',
        "[]",
        "{}",
        '{"run": "another"}',
        '{"run": "RUN"}',
        None,
    ],
)
async def test_a_state_that_makes_no_sense_is_no_log_and_a_new_one_begins(
    us: SharedLogs, keys: redis.Redis, state: str | None
) -> None:
    def poison() -> None:
        keys.delete(KEYS.log)
        fields = {"r": '["begun"]', "e": "", "b": ""}
        if state is not None:
            fields["s"] = state
        keys.xadd(KEYS.log, fields, id="4711-0")
        keys.expire(KEYS.log, 60)

    await is_no_log(us, poison)


async def is_no_log(logs: SharedLogs, poison: Callable[[], None]) -> None:
    poison()
    assert await logs.tail(CONVERSATION) is None
    poison()
    assert await logs.since(CONVERSATION, "4711", 0) is None
    poison()
    assert await append(logs, *RUNNING) == ["gone"]
    poison()
    await begun(logs)
    assert await append(logs, *RUNNING) == ["ok", "take", "take"]
    assert logs.connected


async def test_a_log_of_another_life_of_redis_is_no_log(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    """Redis comes back with what it had some time ago: it would give the same numbers twice."""
    async with shared_logs(own_redis.url) as logs:
        log = await begun(logs)
        await append(logs, *RUNNING)
        with redis.Redis(port=own_redis.port) as keys:
            keys.save()
        await say(logs, 3)
        own_redis.kill()
        with contextlib.suppress(RedisAway):
            await logs.tail(CONVERSATION)
        own_redis.start()
        await wait_until(lambda: logs.connected, "Redis is used again")
        with redis.Redis(port=own_redis.port) as keys:
            assert keys.xlen(KEYS.log) == 3
        assert await logs.tail(CONVERSATION) is None
        assert await logs.since(CONVERSATION, log.epoch, 2) is None
        assert await append(logs, events.delta(a_turn(1), 3, "x")) == ["gone"]
        assert (await begun(logs)).epoch != log.epoch


async def test_an_append_whose_reply_was_lost_takes_each_event_once(
    redis_server: RedisServer,
) -> None:
    async with Relay(redis_server.port) as relay, shared_logs(relay.url) as logs:
        log = await begun(logs)
        await append(logs)  # Redis knows the script from now on
        relay.lose_the_reply_to(APPEND.digest.encode())
        with pytest.raises(RedisAway):
            await append(logs, *RUNNING, events.delta(a_turn(1), 0, "once"))
        assert relay.lost == 1
        await wait_until(lambda: logs.connected, "Redis is used again")
        again = [*RUNNING, events.delta(a_turn(1), 0, "once"), events.delta(a_turn(1), 1, "more")]
        assert await append(logs, *again) == ["ok", "skip", "skip", "skip", "take"]
        heard = await logs.since(CONVERSATION, log.epoch, 0)
        assert heard is not None
        assert [each.number for each in heard] == [1, 2, 3, 4]


async def test_scripts_that_redis_has_forgotten_are_sent_again(
    us: SharedLogs, keys: redis.Redis
) -> None:
    log = await begun(us)
    keys.script_flush()
    assert await append(us, *RUNNING) == ["ok", "take", "take"]
    keys.script_flush()
    assert (await found(us)).number == 2
    keys.script_flush()
    assert await us.since(CONVERSATION, log.epoch, 2) == []
    assert us.connected


async def test_all_logs_go_and_nothing_else_where_nobody_knows_which_lack_something(
    redis_server: RedisServer, keys: redis.Redis
) -> None:
    others = [b"memory:other", KEYS.begin]
    for key in others:
        keys.set(key, 1, px=BEGIN_MS)
    for number in range(2500):
        keys.set(feed_keys(str(number)).log, 1, ex=60)

    class DropsAll:
        wanting = True

        async def repair(self, link: object) -> None:
            if self.wanting:
                await SharedLogs.drop_all(link)  # type: ignore[arg-type]
            self.wanting = False

    async def look() -> None:
        pass

    logs = SharedLogs(
        redis_server.url, server="us", repairs=DropsAll(), look=look, on_change=lambda _: None
    )
    await logs.connect()
    assert logs.connected
    assert sorted(keys.keys()) == sorted(others)
    await logs.close()


# Newer versions


async def test_what_a_newer_version_has_written_is_kept_and_passed_on(
    us: SharedLogs, them: SharedLogs, keys: redis.Redis
) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    [(_, fields)] = keys.xrevrange(KEYS.log, count=1)
    state = orjson.loads(fields[b"s"])
    state["new"] = {"a": [1, 2]}
    state["live"]["turn-1"]["mood"] = "good"
    newer = orjson.dumps(state)
    keys.xadd(KEYS.log, {**fields, b"v": "2", b"z": "?", b"s": newer}, id=f"{log.epoch}-3")
    assert await append(us, events.delta(a_turn(1), 0, "word")) == ["ok", "take"]
    [(entry_id, fields)] = keys.xrevrange(KEYS.log, count=1)
    assert entry_id == f"{log.epoch}-4".encode()
    state = orjson.loads(fields[b"s"])
    assert state["new"] == {"a": [1, 2]}
    assert state["live"]["turn-1"]["mood"] == "good"
    assert (await found(them)).live["turn-1"].shape()["text"] == "word"


async def test_an_event_of_a_newer_kind_is_passed_on_and_changes_nothing(
    us: SharedLogs, them: SharedLogs
) -> None:
    log = await begun(us)
    await append(us, *RUNNING)
    ear = Ear()
    await them.listen(CONVERSATION, ear)
    rule = ("thought", 1, "turn-1", 1, {"new": [None]})
    assert await append(us, events.Event("turn:thought", rule, {"so": "?"})) == ["ok", "take"]
    assert await append(us, events.delta(a_turn(1), 0, "word")) == ["ok", "take"]
    [thought, _] = await ear.hears(2)
    assert thought is not None
    assert (thought.name, thought.fields()["so"]) == ("turn:thought", "?")
    theirs = await found(them)
    assert theirs.live["turn-1"].shape()["text"] == "word"
    heard = await us.since(CONVERSATION, log.epoch, 2)
    assert heard is not None
    assert [each.name for each in heard] == ["turn:thought", "turn:delta"]


async def test_a_log_of_before_there_were_tools_goes_on_with_them(
    us: SharedLogs, them: SharedLogs, keys: redis.Redis
) -> None:
    """Its entries know nothing of them, neither in the state nor beside what was said."""
    await begun(us)
    said = events.delta(a_turn(1), 0, "word ")
    await append(us, *RUNNING, Write(said, said="word "))
    for entry_id, fields in keys.xrange(KEYS.log):
        state = orjson.loads(fields[b"s"])
        for live in state["live"].values():
            live.pop("tools", None)
        older = {k: v for k, v in fields.items() if k != b"t"} | {b"s": orjson.dumps(state)}
        keys.xadd("older", older, id=entry_id)
    keys.rename("older", KEYS.log)
    keys.expire(KEYS.log, 60)
    use = ToolUse(id="u", name="look", status="started")
    assert await append(us, events.tool(a_turn(1), 0, use)) == ["ok", "take"]
    assert await append(us, events.delta(a_turn(1), 1, "more")) == ["ok", "take"]
    shown = (await found(them)).live["turn-1"].shape()
    assert (shown["text"], [each["id"] for each in shown["tools"]]) == ("word more", ["u"])


def test_the_signals_channel_is_no_conversations() -> None:
    assert not SIGNALS.startswith(events_channel("")[:-2])
