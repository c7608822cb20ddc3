"""What one user may do in a minute: on one server, on several, with Redis and without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis

from server.edge import rates as module
from server.edge.keys import rate_key
from server.edge.rates import Kind, Rates
from server.errors import RateLimited
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until

MakeRates = Callable[..., Awaitable[Rates]]


@pytest.fixture
async def make_rates() -> AsyncIterator[MakeRates]:
    """Each call is another server's."""
    async with AsyncExitStack() as stack:

        async def make(
            server: RedisServer | RedisWay | None = None, *, calls: int = 0, messages: int = 0
        ) -> Rates:
            rates = Rates(calls=calls, messages=messages, redis_url=server and server.url)
            stack.push_async_callback(rates.close)
            await rates.connect()
            return rates

        yield make


async def wait_of(rates: Rates, user: str = "ada", *kinds: Kind) -> float:
    """How long the user is told to wait; 0 where it is let through."""
    try:
        await rates.take(user, *(kinds or ("calls",)))
    except RateLimited as error:
        return error.retry_after or -1.0
    return 0.0


async def let_through(tries: int, *servers: Rates, user: str = "ada") -> int:
    """How many of these, taken all at once, from one server after the other."""
    waits = await asyncio.gather(
        *(wait_of(servers[number % len(servers)], user) for number in range(tries))
    )
    return waits.count(0.0)


@pytest.fixture(params=["with Redis", "alone"])
async def some(request: pytest.FixtureRequest, make_rates: MakeRates) -> Any:
    """Makes the rates of one server: what it does is the same with Redis and without."""
    server = request.getfixturevalue("redis_server") if request.param == "with Redis" else None

    async def make(**limits: int) -> Rates:
        return await make_rates(server, **limits)

    return make


async def test_a_whole_burst_is_let_through_and_no_more(some: MakeRates) -> None:
    for limit in (1, 7, 60, 150):
        rates = await some(calls=limit)
        user = f"of {limit}"
        assert await let_through(limit, rates, user=user) == limit
        assert await wait_of(rates, user) == pytest.approx(60 / limit, abs=0.3)
        assert await wait_of(rates, f"not {user}") == 0


async def test_it_grows_back_evenly_and_after_the_wait_it_works(some: MakeRates) -> None:
    rates = await some(calls=600)  # one in a tenth of a second
    assert await let_through(600, rates) in (600, 599)
    while not (wait := await wait_of(rates)):
        pass
    assert 0 < wait <= 0.11
    await asyncio.sleep(wait)
    assert await wait_of(rates) == 0
    started = time.monotonic()
    taken = 0
    while taken < 4:
        if wait := await wait_of(rates):
            await asyncio.sleep(wait)
        else:
            taken += 1
    # At least: a busy machine takes longer, and then there is a little more.
    assert time.monotonic() - started > 0.29


async def test_who_is_refused_has_used_nothing_of_either(some: MakeRates) -> None:
    rates = await some(calls=10, messages=2)
    for _ in range(2):
        assert await wait_of(rates, "ada", "calls", "messages") == 0
    for _ in range(20):
        assert await wait_of(rates, "ada", "calls", "messages") > 25
    assert await let_through(20, rates) == 8
    with pytest.raises(RateLimited, match="more than 10 calls a minute"):
        await rates.take("ada", "calls")
    with pytest.raises(RateLimited, match="more than 2 messages a minute"):
        await rates.take("ada", "calls", "messages")


async def test_what_is_given_back_can_be_used_again(some: MakeRates) -> None:
    rates = await some(messages=4)
    for _ in range(3):
        assert await wait_of(rates, "ada", "messages") == 0
        rates.give_back("ada", "messages")
    waits = [await wait_of(rates, "ada", "messages") for _ in range(5)]
    assert waits[:4] == [0.0] * 4
    assert waits[4] > 10
    rates.give_back("ben", "messages")  # who has all of it gets no more
    assert await let_through_messages(rates, "ben", 6) == 4


async def let_through_messages(rates: Rates, user: str, tries: int) -> int:
    waits = [await wait_of(rates, user, "messages") for _ in range(tries)]
    return waits.count(0.0)


async def test_no_limit_asks_nobody_and_keeps_nothing(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis
) -> None:
    rates = await make_rates(redis_server, messages=5)
    assert await let_through(1_000, rates) == 1_000
    assert (rates.kept, keys.dbsize()) == (0, 0)
    assert await wait_of(rates, "ada", "calls", "messages") == 0
    assert keys.keys() == [rate_key("messages", "ada")]


async def test_servers_keep_one_limit_together(
    make_rates: MakeRates, redis_server: RedisServer
) -> None:
    here = await make_rates(redis_server, calls=100)
    there = await make_rates(redis_server, calls=100)
    assert await let_through(300, here, there) in (100, 101, 102)
    # Not even the one that was never asked before.
    late = await make_rates(redis_server, calls=100)
    assert await let_through(10, late) <= 1


async def test_what_is_used_up_is_refused_without_asking(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis
) -> None:
    rates = await make_rates(redis_server, calls=2)
    assert await let_through(3, rates) == 2
    before = keys.info("stats")["total_commands_processed"]  # type: ignore[index]
    for _ in range(200):
        assert await wait_of(rates) > 25
    after = keys.info("stats")["total_commands_processed"]  # type: ignore[index]
    assert after - before < 20


async def test_calls_that_come_soon_after_another_are_told_together(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis
) -> None:
    here = await make_rates(redis_server, calls=1_000)
    there = await make_rates(redis_server, calls=1_000)

    def trips() -> int:
        return int(keys.info("commandstats")["cmdstat_evalsha"]["calls"])  # type: ignore[index]

    for rates in (here, there):
        await rates.take("ada", "calls")
    before = trips()
    for _ in range(300):
        await here.take("ada", "calls")
        await there.take("ada", "calls")

    async def is_told() -> bool:
        return int(keys.pttl(rate_key("calls", "ada"))) > 550 * 60  # type: ignore[arg-type]

    await wait_until(is_told, "Redis knows of most of them")
    assert trips() - before < 150
    # And from half of it on they ask.
    assert 380 < await let_through(500, here, there) < 430


async def test_keys_live_until_all_has_grown_back(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis
) -> None:
    rates = await make_rates(redis_server, calls=60, messages=6)
    await rates.take("ada", "calls", "messages")
    assert 0 < int(keys.pttl(rate_key("calls", "ada"))) <= 1_000  # type: ignore[arg-type]
    assert 9_000 < int(keys.pttl(rate_key("messages", "ada"))) <= 10_000  # type: ignore[arg-type]
    await let_through(100, rates)
    assert 58_000 < int(keys.pttl(rate_key("calls", "ada"))) <= 60_000  # type: ignore[arg-type]


YEARS_AHEAD = b"9999999999999999"
"""As after a clock that was set back; the same in every process that collects this test."""


@pytest.mark.parametrize("junk", [b"", b"junk", b"-5", b"1e300", b"inf", YEARS_AHEAD])
async def test_what_else_is_found_in_redis_locks_nobody_out_for_longer_than_a_minute(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis, junk: bytes
) -> None:
    rates = await make_rates(redis_server, calls=600)
    keys.set(rate_key("calls", "ada"), junk, px=600_000)
    if wait := await wait_of(rates):
        assert wait <= 0.11
        await asyncio.sleep(wait)
        keys.delete(rate_key("calls", "ada"))
        assert await wait_of(rates) == 0
    assert 0 < int(keys.pttl(rate_key("calls", "ada"))) <= 60_000  # type: ignore[arg-type]


async def test_a_key_of_another_type_leaves_the_user_to_the_server(
    make_rates: MakeRates, redis_server: RedisServer, keys: redis.Redis
) -> None:
    rates = await make_rates(redis_server, calls=3)
    keys.lpush(rate_key("calls", "ada"), "junk")
    keys.expire(rate_key("calls", "ada"), 60)
    assert await let_through(5, rates) == 3
    assert await wait_of(rates, "bob") == 0
    assert keys.exists(rate_key("calls", "bob"))


async def test_any_text_is_a_user(make_rates: MakeRates, redis_server: RedisServer) -> None:
    rates = await make_rates(redis_server, calls=1)
    for user in ("\ud800", "a:b}{c", "", "a\0b", "ü" * 1_000):
        assert await wait_of(rates, user) == 0
        assert await wait_of(rates, user) > 50


async def test_when_redis_goes_the_server_goes_on_from_where_it_was(
    make_rates: MakeRates, own_redis: RedisServer
) -> None:
    here, there = await make_rates(own_redis, calls=40), await make_rates(own_redis, calls=40)
    assert await let_through(30, here) == 30
    assert await wait_of(there) == 0  # so it has been told of those 30
    own_redis.kill()
    started = time.monotonic()
    assert await let_through(40, here) in (10, 11)
    assert await let_through(40, there) in (9, 10)
    assert await let_through(60, here, user="bob") == 40
    assert time.monotonic() - started < 1.0
    own_redis.start()
    keys = redis.Redis(port=own_redis.port)
    with keys:

        async def shared() -> bool:
            await wait_of(here, "somebody")
            return bool(keys.exists(rate_key("calls", "somebody")))

        await wait_until(shared, "the limits are shared again")
    assert await wait_of(here) > 0  # what was taken without it is not forgotten here


async def test_a_silent_redis_is_not_waited_for_again_and_again(
    make_rates: MakeRates, redis_server: RedisServer, way: RedisWay
) -> None:
    rates = await make_rates(way, calls=1_000)
    assert await let_through(10, rates) == 10
    way.freeze()
    started = time.monotonic()
    for _ in range(100):
        await rates.take("ada", "calls")
        await asyncio.sleep(0.01)
    # Twice at the most, until it counts as away; a second of this was our own.
    took = time.monotonic() - started
    assert took < 100 * 0.01 + 0.2 + 0.8, took
    started = time.monotonic()
    assert await let_through(890, rates) == 890
    assert await let_through(50, rates) <= 40
    assert time.monotonic() - started < 0.5
    way.thaw()
    await wait_until(lambda: let_through(1, rates, user="bob"), "it answers again")


async def test_without_redis_at_the_start_it_limits_by_itself(make_rates: MakeRates) -> None:
    nobody = RedisServer()  # never started
    rates = await make_rates(nobody, calls=3)
    assert await let_through(10, rates) == 3


async def test_only_so_many_users_are_kept_in_mind(
    some: MakeRates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 100)
    rates = await some(calls=10)
    for number in range(300):
        await rates.take(f"user {number}", "calls")
    assert rates.kept == 100
    assert await let_through(20, rates, user="user 299") == 9


async def test_what_has_grown_back_is_not_kept(some: MakeRates) -> None:
    rates = await some(calls=6_000)  # one in 10 ms
    for number in range(300):
        await rates.take(f"user {number}", "calls")
    await asyncio.sleep(0.02)
    await rates.take("ada", "calls")
    assert rates.kept == 1
