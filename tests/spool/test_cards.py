"""Cards: what one server has noted another one reads, and this one also without Redis."""

from __future__ import annotations

import asyncio
import gc
import resource
import tracemalloc
from pathlib import Path

import pytest
import redis
from msgspec.structs import replace

from memory.records import Conversation, Turn
from spool.card import Card
from spool.cards import Cards
from spool.held_cards import MAX_TURNS
from spool.keys import card_key
from tests.spool.conftest import MakeCards
from tests.spool.knowing import about, bare, closed_turn, open_turn
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

MEGABYTE = 1024 * 1024


async def read_there(cards: Cards, *turns: Turn, conversation_id: str = "c1") -> Card:
    """As soon as just these turns are on the card."""

    async def found() -> Card | None:
        card = await cards.read(conversation_id)
        return card if card is not None and card.turns == list(turns) else None

    card: Card = await wait_until(found, f"the card has {[turn.n for turn in turns]}")
    return card


async def nothing_there(cards: Cards, conversation_id: str = "c1") -> None:
    async def is_gone() -> bool:
        return await cards.read(conversation_id) is None

    await wait_until(is_gone, "there is no card")


async def test_what_one_server_notes_another_one_reads(make_cards: MakeCards) -> None:
    us, them = await make_cards(), await make_cards()
    running, waiting = open_turn(2, status="running"), open_turn(3)
    us.note(about(2, 1), bare(closed_turn(1)), running)
    us.note(None, waiting)
    card = await read_there(them, bare(closed_turn(1)), running, waiting)
    assert card.conversation == about(2, 1)
    assert card.last == 1
    assert card.open == [running, waiting]
    assert await them.read("c2") is None


async def test_two_servers_that_note_one_conversation_read_the_same(make_cards: MakeCards) -> None:
    us, them = await make_cards(), await make_cards()
    running = open_turn(1, status="running")
    us.note(about(1, 0), running)
    await read_there(them, running)
    taken_over = replace(running, attempt=2, owner="slot-2:boot-1")
    waiting = open_turn(2)
    them.note(about(2, 0), taken_over, waiting)
    # What this server knows is older than what is in Redis.
    assert await read_there(us, taken_over, waiting) == await read_there(them, taken_over, waiting)


async def test_of_closed_turns_only_the_last_is_in_redis_and_without_its_texts(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us, them = await make_cards(), await make_cards()
    for n in (1, 2, 3):
        us.note(about(n, n - 1), replace(open_turn(n, content="the question"), id=f"turn-{n}"))
        us.note(about(n), closed_turn(n))
    card = await read_there(them, bare(closed_turn(3)))
    assert card.last == 3
    kept = b"".join(keys.hgetall(card_key("c1")).values())  # type: ignore[union-attr]
    assert b"the question" not in kept
    assert b"answer 3" not in kept
    # This server has seen them.
    assert (await read_there(us, *map(closed_turn, (1, 2, 3)))).last == 3


async def test_a_turn_that_is_closed_after_a_later_one_is_not_the_last(
    make_cards: MakeCards,
) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(2, 0), open_turn(1, status="running"), open_turn(2))
    us.note(None, closed_turn(2, status="stopped", answer=None, answers=None))
    us.note(None, closed_turn(1))
    card = await read_there(them, bare(closed_turn(2, status="stopped", answer=None, answers=None)))
    assert card.last == 2


async def test_a_note_that_comes_late_does_not_open_a_turn_again(make_cards: MakeCards) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(1), closed_turn(1))
    await read_there(them, bare(closed_turn(1)))
    us.note(None, open_turn(1, status="running"))  # over another connection, say
    us.note(about(2, 1), open_turn(2))
    await read_there(them, bare(closed_turn(1)), open_turn(2))


async def test_a_forgotten_conversation_leaves_nothing(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(1, 0), open_turn(1))
    await read_there(them, open_turn(1))
    await us.forget("c1")
    assert await us.read("c1") is None
    await nothing_there(them)
    assert us.conversation_of("turn-1") is None
    assert us.bytes == 0
    assert keys.keys() == []


async def test_while_redis_is_away_a_server_knows_what_it_has_noted(
    make_cards: MakeCards, own_redis: RedisServer
) -> None:
    us = await make_cards(own_redis)
    us.note(about(1), closed_turn(1))
    own_redis.kill()
    running = open_turn(2, status="running")
    us.note(about(2, 1), running)
    card = await us.read("c1")
    assert card is not None
    assert (card.conversation, card.turns, card.last) == (about(2, 1), [closed_turn(1), running], 1)
    assert us.conversation_of(running.id) == "c1"
    assert await us.read("c2") is None
    us.note(None, closed_turn(2))
    assert us.conversation_of(running.id) is None


async def test_what_was_forgotten_while_redis_was_away_is_gone_when_it_is_back(
    make_cards: MakeCards, own_redis: RedisServer
) -> None:
    us, them = await make_cards(own_redis), await make_cards(own_redis)
    us.note(about(1, 0), open_turn(1))
    await read_there(them, open_turn(1))
    own_redis.freeze()
    await us.forget("c1")
    assert us.wanting
    own_redis.thaw()
    await wait_until(lambda: not us.wanting, "it was forgotten")
    await nothing_there(them)


async def test_every_card_has_a_ttl_from_its_first_note_on(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us = await make_cards()
    us.note(about())
    us.note(about(1, id="c2"), open_turn(1, "c2"))
    us.note(about(1), closed_turn(1))
    await wait_until(lambda: len(keys.keys()) == 2, "both are noted")  # type: ignore[arg-type]
    day = 24 * 3_600
    for key in (card_key("c1"), card_key("c2")):
        assert day - 60 < keys.ttl(key) <= day  # type: ignore[operator]


@pytest.mark.parametrize(
    "junk",
    [
        {"about": "no JSON"},
        {"about": "{}"},
        {"t:1": '{"id": 7}'},
        {"t:1": b"\xff\xfe"},
        {"last": "many"},
        {"last": "1" * 400},
    ],
)
async def test_junk_on_a_card_is_as_if_nothing_was_known(
    make_cards: MakeCards, keys: redis.Redis, junk: dict[str, str]
) -> None:
    us, them = await make_cards(), await make_cards()
    us.note(about(1), closed_turn(1))
    await read_there(them, bare(closed_turn(1)))
    keys.hset(card_key("c1"), mapping=junk)
    read = await them.read("c1")
    if "last" in junk and junk["last"].isdigit():
        assert read is not None
        return
    assert read is None
    # Who has noted it knows it all the same.
    assert (await read_there(us, closed_turn(1))).conversation == about(1)
    us.note(about(2, 1), open_turn(2))


async def test_another_kind_of_value_under_a_cards_key_is_as_if_nothing_was_known(
    make_cards: MakeCards, keys: redis.Redis
) -> None:
    us = await make_cards()
    keys.set(card_key("c1"), "junk", ex=60)
    assert await us.read("c1") is None
    us.note(about(1), closed_turn(1))
    await asyncio.sleep(0.05)
    assert (await read_there(us, closed_turn(1))).conversation == about(1)
    assert us.session is not None
    assert us.session.connected


def a_conversation(i: int) -> Conversation:
    return about(1, id=f"conversation-{i}", user_id=f"user-{i}", title=f"About the matter {i}")


def resident() -> int:
    """Bytes that this process takes of the machine's memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_hundred_thousand_conversations_take_no_more_of_a_process_than_is_allowed() -> None:
    most = 8 * MEGABYTE
    cards = Cards(most)
    before = resident()
    for i in range(100_000):
        cards.note(a_conversation(i), closed_turn(1, f"conversation-{i}", id=f"turn-{i}"))
        assert cards.bytes <= most
    assert resident() - before < 1.5 * most
    assert asyncio.run(cards.read("conversation-99999")) is not None


@pytest.mark.parametrize("text", ["x" * 500, "ж" * 300, "😀" * 500], ids=["ascii", "bmp", "emoji"])
def test_what_a_process_keeps_of_many_conversations_is_bounded_in_bytes(text: str) -> None:
    most = 4 * MEGABYTE
    cards = Cards(most)
    tracemalloc.start()
    try:
        for i in range(6_000):
            conversation = a_conversation(i)
            turn = closed_turn(1, conversation.id, id=f"turn-{i}")
            question = replace(turn.question, content=text[:-1] + str(i)[-1])
            cards.note(conversation, replace(turn, question=question))
            assert cards.bytes <= most
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < most
    # It is not that it keeps next to nothing.
    assert taken > most / 4
    assert cards.bytes > 0.9 * most


def test_of_one_conversation_a_process_keeps_the_latest_turns() -> None:
    cards = Cards()
    cards.note(about(1, 0), open_turn(1))
    for n in range(2, 100):
        cards.note(about(n), closed_turn(n))
    held = asyncio.run(cards.read("c1"))
    assert held is not None
    assert len(held.turns) == MAX_TURNS
    assert held.turns[0] == open_turn(1)  # what is open is kept the longest
    assert held.turns[-1] == closed_turn(99)


def test_a_conversation_that_is_answered_is_kept_longer_than_others() -> None:
    cards = Cards(MEGABYTE)
    cards.note(a_conversation(0), closed_turn(1, "conversation-0"))
    cards.note(None, open_turn(2, "conversation-0", id="open-0"))
    cards.note(a_conversation(1), open_turn(1, "conversation-1", id="open-1"))
    for i in range(2, 5_000):
        cards.note(a_conversation(i), closed_turn(1, f"conversation-{i}", id=f"turn-{i}"))
    for i in (0, 1):
        kept = asyncio.run(cards.read(f"conversation-{i}"))
        assert kept is not None
        assert [turn.id for turn in kept.open] == [f"open-{i}"]
        assert cards.conversation_of(f"open-{i}") == f"conversation-{i}"
    assert asyncio.run(cards.read("conversation-2")) is None
    assert asyncio.run(cards.read("conversation-4999")) is not None


def test_where_all_are_answered_the_one_noted_longest_ago_goes() -> None:
    cards = Cards(MEGABYTE)
    for i in range(5_000):
        cards.note(a_conversation(i), open_turn(1, f"conversation-{i}", id=f"open-{i}"))
        assert cards.bytes <= MEGABYTE
    assert cards.conversation_of("open-0") is None
    assert cards.conversation_of("open-4999") == "conversation-4999"
