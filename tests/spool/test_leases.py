"""Which server a conversation lodges with: one at a time, as far as Redis can tell."""

from __future__ import annotations

import asyncio

import pytest
import redis

from spool.keys import ACTIVE, LEASE_MS, SERVERS, lease_key
from spool.leases import LOOKS_ALONE, SpoolLeases
from tests.spool.conftest import MakeLeases
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until


@pytest.fixture
async def us(make_leases: MakeLeases) -> SpoolLeases:
    return await make_leases("us")


@pytest.fixture
async def them(make_leases: MakeLeases) -> SpoolLeases:
    return await make_leases("them")


async def lapse(keys: redis.Redis, conversation_id: str) -> None:
    keys.pexpire(lease_key(conversation_id), 20)
    await wait_until(lambda: not keys.exists(lease_key(conversation_id)), "the lease is over")


async def test_a_conversation_is_one_servers_at_a_time(us: SpoolLeases, them: SpoolLeases) -> None:
    outcomes = await asyncio.gather(*(each.take("c1") for each in (us, them) * 5))
    winner, loser = (us, them) if outcomes[0] else (them, us)
    assert outcomes == [each is winner for each in (us, them) * 5]
    assert await loser.take("c2")  # another conversation is another's business


async def test_a_name_that_begins_like_the_holders_is_another_server(
    make_leases: MakeLeases, us: SpoolLeases
) -> None:
    longer, shorter = await make_leases("us-2"), await make_leases("u")
    assert await us.take("c1", 3)
    for other in (longer, shorter):
        assert not await other.take("c1")
        await other.release("c1")
        assert await other.elsewhere(["c1"], surely=True) == {"c1": 3}


async def test_a_lease_that_is_renewed_goes_on(
    us: SpoolLeases, them: SpoolLeases, keys: redis.Redis
) -> None:
    assert await us.take("c1")
    for renew in (us.take("c1"), us.keep({"c1": 0})):
        keys.pexpire(lease_key("c1"), 5_000)
        await renew
        assert LEASE_MS - 2_000 < int(keys.pttl(lease_key("c1"))) <= LEASE_MS  # type: ignore[arg-type]
    assert not await them.take("c1")
    # Asking for what is another's does not renew it.
    keys.pexpire(lease_key("c1"), 5_000)
    await them.take("c1")
    assert int(keys.pttl(lease_key("c1"))) <= 5_000  # type: ignore[arg-type]


async def test_a_lease_that_is_over_is_anybodys_and_lost_to_who_held_it(
    us: SpoolLeases, them: SpoolLeases, keys: redis.Redis
) -> None:
    assert await us.take("c1")
    await lapse(keys, "c1")
    assert await them.take("c1")
    assert await us.keep({"c1": 1, "c2": 1}) == {"c1"}
    await us.release("c1")  # it is not ours to give back
    assert not await us.take("c1")
    await them.release("c1")
    assert await us.take("c1")


async def test_many_are_kept_and_the_lost_ones_told(us: SpoolLeases, them: SpoolLeases) -> None:
    names = [f"c{i}" for i in range(1_000)]
    theirs = set(names[::7])
    assert await them.keep(dict.fromkeys(theirs, 1)) == set()
    assert await us.keep(dict.fromkeys(names, 1)) == theirs
    assert (await us.elsewhere(names, surely=True)).keys() == theirs


async def test_others_are_told_from_which_place_on_it_is_there(
    us: SpoolLeases, them: SpoolLeases
) -> None:
    await us.take("known", 7)
    await us.take("unknown")
    await them.take("theirs", 2)
    asked = ["known", "unknown", "theirs", "nobody's"]
    assert await them.elsewhere(asked, surely=True) == {"known": 7, "unknown": 0}
    assert await us.elsewhere(asked, surely=True) == {"theirs": 2}
    # It is told with each renewal.
    await us.take("unknown", 4)
    assert await them.elsewhere(asked, surely=True) == {"known": 7, "unknown": 4}
    assert await them.elsewhere([], surely=True) == {}


async def test_nobody_is_asked_where_nobody_has_spooled_of_late(
    us: SpoolLeases, them: SpoolLeases, keys: redis.Redis
) -> None:
    await us.take("c1", 1)
    await them.look()
    assert not them.anyone
    assert await them.elsewhere(["c1"]) == {}
    assert await them.elsewhere(["c1"], surely=True) == {"c1": 1}
    await us.keep({"c1": 1})
    await them.look()
    assert them.anyone
    assert await them.elsewhere(["c1"]) == {"c1": 1}
    assert 0 < int(keys.pttl(ACTIVE)) <= LEASE_MS  # type: ignore[arg-type]
    keys.pexpire(ACTIVE, 1)
    await asyncio.sleep(0.02)
    await them.look()
    assert not them.anyone


@pytest.mark.parametrize(
    ("junk", "read"),
    [
        (b"", {}),
        (b" 5", {}),
        (b"them", {"c1": 0}),
        (b"them x", {"c1": 0}),
        (b"them -3", {"c1": 0}),
        (b"\xff\xfe 5", {"c1": 5}),
    ],
)
async def test_junk_in_a_lease_is_no_error_and_lasts_no_longer_than_it(
    us: SpoolLeases, keys: redis.Redis, junk: bytes, read: dict[str, int]
) -> None:
    keys.set(lease_key("c1"), junk, px=60_000)
    assert await us.elsewhere(["c1"], surely=True) == read
    assert not await us.take("c1")
    await us.release("c1")
    assert keys.exists(lease_key("c1"))
    await lapse(keys, "c1")
    assert await us.take("c1")


async def test_an_id_that_is_no_valid_utf_8_has_a_lease_as_well(
    us: SpoolLeases, them: SpoolLeases
) -> None:
    assert await us.take("\ud800", 1)
    assert not await them.take("\ud800")
    assert await them.elsewhere(["\ud800"], surely=True) == {"\ud800": 1}


async def test_while_redis_is_away_each_server_goes_on(
    make_leases: MakeLeases, own_redis: RedisServer
) -> None:
    us, them = await make_leases("us", own_redis), await make_leases("them", own_redis)
    assert await us.take("c1", 1)
    await us.tell()
    await them.look()
    assert them.can_ask
    own_redis.kill()
    assert await us.take("c1")
    assert await them.take("c1")
    assert await us.keep({"c1": 1}) == set()
    assert await them.elsewhere(["c1"]) == {}
    await us.release("c1")
    await them.look()
    assert not them.can_ask
    # Somebody had spooled: who looks for turns without a holder can't tell these from others.
    assert them.anyone
    assert not them.can_tell
    own_redis.start()
    await wait_until(lambda: us.can_ask and them.can_ask, "Redis is used again")
    assert them.can_tell
    assert await us.take("c1")
    assert not await them.take("c1")


async def test_when_the_last_lease_must_be_over_a_server_can_tell_without_redis(
    make_leases: MakeLeases, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = await make_leases("us", own_redis)
    await us.tell()
    await us.look()
    own_redis.kill()
    await us.look()
    assert not us.can_tell
    monkeypatch.setattr("spool.leases.LEASE_MS", 200)  # instead of waiting half a minute
    await wait_until(lambda: us.can_tell, "the last lease is over")


async def test_a_server_is_alone_when_it_has_seen_no_other_for_a_while(
    us: SpoolLeases, them: SpoolLeases, keys: redis.Redis
) -> None:
    for _ in range(LOOKS_ALONE):
        assert not us.is_alone
        await us.look()
    assert us.is_alone
    await them.look()
    await us.look()
    assert not us.is_alone
    keys.zadd(SERVERS, {"them": 1})  # it was last seen long ago
    for _ in range(LOOKS_ALONE):
        await us.look()
    assert us.is_alone


async def test_a_server_without_any_redis_has_all_to_itself() -> None:
    leases = SpoolLeases("us")
    assert await leases.take("c1")
    assert await leases.keep({"c1": 1}) == set()
    await leases.look()
    await leases.tell()
    await leases.release("c1")
    assert await leases.elsewhere(["c1"], surely=True) == {}
    assert (leases.can_ask, leases.can_tell, leases.anyone) == (False, True, False)
