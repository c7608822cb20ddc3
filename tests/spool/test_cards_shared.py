"""What a card in Redis tells besides its turns: who had to wait, what is not kept for good yet."""

from __future__ import annotations

import asyncio

import redis
from msgspec.structs import replace

from spool.card import Card, open_of
from spool.cards import MAX_SUPERSEDED, Cards
from spool.held_cards import MAX_TURNS
from spool.keys import card_key
from tests.spool.conftest import MakeCards
from tests.spool.knowing import about, bare, closed_turn, open_turn
from tests.support.client import new_id
from tests.support.redis_server import RedisServer
from tests.support.redis_way import RedisWay
from tests.support.wait import wait_until


async def is_made(cards: Cards, conversation_id: str = "c1") -> bool:
    card = await cards.read(conversation_id)
    return card is not None and card.made


async def test_a_conversation_counts_as_made_here_until_it_is_kept(make_cards: MakeCards) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(), made=True)
    await wait_until(lambda: is_made(them), "it is noted")
    assert await is_made(us)
    us.note(about(1, 0), open_turn(1))  # that changes nothing of it
    await wait_until(lambda: _last_place(them, 1), "the turn is noted")
    assert await is_made(them)
    await us.is_kept("c1")
    assert not await is_made(them)
    assert not await is_made(us)
    card = await them.read("c1")
    assert card is not None
    assert card.open == [open_turn(1)]


async def test_what_was_kept_while_redis_was_away_is_noted_when_it_is_back(
    make_cards: MakeCards, redis_server: RedisServer
) -> None:
    async with RedisWay(redis_server.port) as way:
        us, them = await make_cards(way), await make_cards()
        us.note(about(), made=True)
        await wait_until(lambda: is_made(them), "it is noted")
        way.cut()
        await us.is_kept("c1")
        assert await is_made(them)
        way.mend()

        async def is_noted() -> bool:
            return not await is_made(them)

        await wait_until(is_noted, "it is kept")


async def test_that_another_conversation_is_kept_leaves_no_card(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us = await make_cards()
    await us.is_kept("c1")
    assert keys.keys() == []


async def test_who_had_to_wait_is_known_when_the_turn_is_long_closed(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us, them = await make_cards(), await make_cards()
    for n in range(1, 60):
        accepted = "queued" if n % 2 else "running"
        us.note(about(n), replace(closed_turn(n), accepted=accepted))
        # One after the other, as turns come: what is noted at once may arrive in any order.
        await wait_until(lambda n=n: _last_place(them, n), "it is noted", interval=0.001)
    card = await them.read("c1")
    assert card is not None
    # As far back as memory goes, and not for ever.
    recent = {f"turn-{n}" for n in range(60 - 25, 60) if n % 2}
    assert recent <= card.waited
    assert len(card.waited) <= 20
    assert card.turns == [replace(bare(closed_turn(59)), accepted="queued")]
    assert int(keys.hlen(card_key("c1"))) < 25  # type: ignore[arg-type]


async def test_what_was_replaced_is_known_after_the_next_edit_too_and_not_for_ever(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(2), replace(closed_turn(2), accepted="queued"))
    await wait_until(lambda: _last_place(them, 2), "it is noted")
    await us.rewritten("c1", [closed_turn(2)])
    # Of what is left of its card nothing comes to pass for the conversation.
    assert await us.read("c1") is None
    them.note(None, closed_turn(2))
    assert await them.read("c1") is None
    for cards in (them, us):
        cards.note(about(3), closed_turn(3))
        await wait_until(lambda: _last_place(us, 3), "it is noted anew")
        await cards.rewritten("c1", [closed_turn(3)])
        await cards.rewritten("c1", [closed_turn(3)])
    them.note(about(4), closed_turn(4))
    await wait_until(lambda: _last_place(us, 4), "it is noted anew")
    for cards in (us, them):
        card = await cards.read("c1")
        assert card is not None
        assert card.turns == [bare(closed_turn(4))] or card.turns == [closed_turn(4)]
        assert card.superseded == {"turn-2", "turn-3"}
        assert card.waited == {"turn-2"}
    await us.rewritten("c1", [closed_turn(n) for n in range(10, 10 + 3 * MAX_SUPERSEDED)])
    them.note(about(999), closed_turn(999))
    await wait_until(lambda: _last_place(us, 999), "it is noted anew")
    card = await us.read("c1")
    assert card is not None
    assert len(card.superseded) == MAX_SUPERSEDED
    assert f"turn-{9 + 3 * MAX_SUPERSEDED}" in card.superseded
    await us.forget("c1")
    assert us.bytes == 0
    assert keys.keys() == []


async def test_what_was_replaced_while_redis_was_away_is_noted_when_it_is_back(
    make_cards: MakeCards, redis_server: RedisServer
) -> None:
    async with RedisWay(redis_server.port) as way:
        us, them = await make_cards(way), await make_cards()
        us.note(about(1), closed_turn(1))
        await wait_until(lambda: _last_place(them, 1), "it is noted")
        way.cut()
        await us.rewritten("c1", [closed_turn(1)])
        us.note(about(1, revision=1), closed_turn(2, place=1))
        alone = await us.read("c1")
        assert alone is not None
        assert alone.superseded == {"turn-1"}
        way.mend()

        async def is_gone() -> bool:
            return await them.read("c1") is None

        await wait_until(is_gone, "what was there does not count any more")
        them.note(about(1, revision=1), closed_turn(2, place=1))
        await wait_until(lambda: _last_place(us, 1), "it is noted anew")
        card = await them.read("c1")
        assert card is not None
        assert card.superseded == {"turn-1"}


async def test_what_could_not_be_noted_is_before_others_go_by_the_card(
    make_cards: MakeCards, redis_server: RedisServer
) -> None:
    """A turn that was accepted while this server alone had lost Redis. Its conversation went on
    without it, on another server, where MongoDB went away after that."""
    async with RedisWay(redis_server.port) as way:
        us, them = await make_cards(way), await make_cards()
        us.note(about(1), closed_turn(1))
        await wait_until(lambda: _last_place(them, 1), "it is noted")
        way.cut()
        us.note(about(2, 1), open_turn(2))
        us.note(None, open_turn(2, status="running"))
        await asyncio.sleep(0.1)
        them.note(None, closed_turn(1))
        way.mend()
        assert us.session is not None
        await wait_until(lambda: us.session and us.session.connected, "Redis is used again")
        card = await them.read("c1")
        assert card is not None
        assert card.open == [open_turn(2, status="running")]
        assert not us.wanting


async def test_a_card_that_redis_has_lost_is_not_begun_by_what_one_server_could_not_note(
    make_cards: MakeCards, redis_server: RedisServer, keys: redis.Redis
) -> None:
    async with RedisWay(redis_server.port) as way:
        us, them = await make_cards(way), await make_cards()
        us.note(about(1), closed_turn(1))
        await wait_until(lambda: _last_place(them, 1), "it is noted")
        way.cut()
        us.note(about(2, 1), open_turn(2))
        await asyncio.sleep(0.1)
        keys.flushall()
        way.mend()
        assert us.session is not None
        await wait_until(lambda: us.session and us.session.connected, "Redis is used again")
        assert await them.read("c1") is None
        assert not us.wanting


async def test_what_waits_to_be_noted_is_bounded_and_goes_with_what_is_held(
    make_cards: MakeCards, redis_server: RedisServer
) -> None:
    async with RedisWay(redis_server.port) as way:
        us = await make_cards(way, max_bytes=200_000)
        us.note(about(1), closed_turn(1))
        way.cut()
        us.note(about(2), closed_turn(2))
        await wait_until(lambda: us.session and not us.session.connected, "it is noticed")
        for n in range(3, 200):
            us.note(about(n), closed_turn(n))
        assert len(us._unnoted["c1"]) <= MAX_TURNS + 1
        for number in range(200):
            other = replace(about(1), id=f"other-{number}")
            us.note(other, replace(closed_turn(1), id=new_id(), conversation_id=other.id))
        assert us.wanting
        assert len(us._unnoted) < 150
        assert us.bytes <= 200_000


async def test_a_lost_end_leaves_nothing_open_where_a_later_turn_has_run(
    make_cards: MakeCards, redis_server: RedisServer, keys: redis.Redis
) -> None:
    """Its end was noted while Redis was down, and nobody does so again."""
    us = await make_cards()
    stale, running = open_turn(1, status="running"), open_turn(3, status="running")
    us.note(about(4, 2), stale, closed_turn(2), running, open_turn(4))
    them = await make_cards()

    async def card() -> Card | None:
        found = await them.read("c1")
        return found if found is not None and len(found.turns) == 4 else None

    found = await wait_until(card, "all is noted")
    assert found is not None
    assert found.open == [running, open_turn(4)]
    edit = open_turn(5, place=3, revision=1, rewrites=True)
    assert open_of([*found.turns, edit]) == [edit]


async def test_junk_is_no_hindrance_to_an_edit(make_cards: MakeCards, keys: redis.Redis) -> None:
    us, them = await make_cards(), await make_cards()
    for spoil in (
        lambda: keys.set(card_key("c1"), "junk"),
        lambda: keys.hset(card_key("c1"), mapping={"g:x": "junk", "junk": "x"}),
    ):
        keys.delete(card_key("c1"))
        spoil()
        await us.rewritten("c1", [closed_turn(1)])
        us.note(about(2), closed_turn(2))
        await wait_until(lambda: _last_place(them, 2), "it is noted anew")
        card = await them.read("c1")
        assert card is not None
        assert card.superseded == {"turn-1"}


async def test_a_card_tells_whether_all_servers_have_had_a_part_in_it(
    make_cards: MakeCards, own_redis: RedisServer
) -> None:
    us, them = await make_cards(own_redis), await make_cards(own_redis)
    us.note(about(1), closed_turn(1))
    await wait_until(lambda: _last_place(them, 1), "it is noted")
    for cards in (us, them):
        card = await cards.read("c1")
        assert card is not None
        assert card.shared
    with redis.Redis(port=own_redis.port) as client:
        client.flushall()
    mine = await us.read("c1")
    assert mine is not None
    assert not mine.shared
    assert mine.turns == [closed_turn(1)]
    assert await them.read("c1") is None


async def test_a_card_that_was_lost_and_begun_anew_is_not_all_of_it(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    """Others may have ended what waits here since, and no note of that was kept."""
    us, them = await make_cards(), await make_cards()
    us.note(about(2, 0), open_turn(1, status="running"), open_turn(2))
    await wait_until(lambda: _last_place(them, 2), "it is noted")
    keys.flushall()
    them.note(None, closed_turn(1))  # of a card that is not there nothing is kept
    them.note(about(2, 1))
    await wait_until(lambda: keys.exists(card_key("c1")), "it is begun anew")
    card = await us.read("c1")
    assert card is not None
    assert [turn.n for turn in card.open] == [1, 2]
    assert not card.shared
    # Where Redis knows of something later, what came before it is known to have ended, or is there.
    them.note(None, open_turn(3))

    async def is_whole() -> bool:
        card = await us.read("c1")
        return card is not None and card.shared

    await wait_until(is_whole, "it is told of the latest")


async def _last_place(cards: Cards, place: int) -> bool:
    card = await cards.read("c1")
    return card is not None and bool(card.turns) and card.turns[-1].place == place
