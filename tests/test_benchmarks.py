"""The benchmarks' harness counts right; how fast anything is, is none of the tests' business."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient

from benchmarks import cold, corpus, feed, stores
from benchmarks.audience import audience
from benchmarks.chat import chat, targets
from benchmarks.feed_delivery import deliveries
from benchmarks.feed_opens import opens
from benchmarks.provider import question
from benchmarks.report import Floor, Row, number
from benchmarks.samples import (
    ENDED_TURNS_A_CONVERSATION,
    EveryConversation,
    Growing,
    ended_turn,
    new_turn,
)
from benchmarks.servers import module
from benchmarks.stampede import PROCESSES, stampedes
from benchmarks.timing import Timings, compare, percentile
from benchmarks.tokens import WIDTH, Received, stamped
from benchmarks.users import DirectUser, RelayUser
from embedded.store import EmbeddedStore
from memory.records import Position, Turn, messages_of
from mongo.collections import CONVERSATION_INDEXES, TURN_INDEXES
from mongo.store import MongoStore
from tests.support.mongod import Mongod, require_mongod
from tests.support.redis_server import redis_server_binary


def received(*pieces: str, tokens: int) -> Received:
    answer = Received(tokens)
    for piece in pieces:
        answer.add(piece)
    answer.end()
    return answer


def tokens() -> list[str]:
    return [stamped(index) for index in range(6)]


def test_a_token_is_as_wide_as_it_says() -> None:
    assert {len(token) for token in tokens()} == {WIDTH}


@pytest.mark.parametrize("size", [1, 7, WIDTH, 2 * WIDTH, 6 * WIDTH])
def test_tokens_are_found_however_they_are_joined_or_torn(size: int) -> None:
    text = "".join(tokens())
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    answer = received(*pieces, tokens=6)
    assert (len(answer.lags), answer.wrong) == (6, 0)
    assert all(0 <= lag < 60 for lag in answer.lags)


@pytest.mark.parametrize(
    ("order", "lost", "doubled"),
    [
        pytest.param([0, 1, 3, 4, 5], 1, 0, id="one lost"),
        pytest.param([1, 2, 3, 4, 5], 1, 0, id="the first lost"),
        pytest.param([0, 1, 2], 3, 0, id="the end lost"),
        pytest.param([], 6, 0, id="all lost"),
        pytest.param([0, 1, 1, 2, 3, 4, 5], 0, 1, id="one doubled"),
        pytest.param([0, 1, 2, 3, 4, 5, 5], 0, 1, id="the last doubled"),
        pytest.param([0, 2, 1, 3, 4, 5], 1, 1, id="two swapped"),
        pytest.param([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], 0, 6, id="all again"),
    ],
)
def test_a_lost_doubled_or_swapped_token_is_noticed(
    order: list[int], lost: int, doubled: int
) -> None:
    answer = received(*(tokens()[index] for index in order), tokens=6)
    assert (answer.lost, answer.doubled, answer.garbled) == (lost, doubled, 0)


def test_text_that_is_no_token_is_noticed() -> None:
    first, second, third, *_ = tokens()
    answer = received(first, "?", second, third[:5], tokens=3)
    assert (answer.lost, answer.doubled, answer.garbled) == (1, 0, 6)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3.0


async def test_compared_works_take_turns_and_the_first_round_does_not_count() -> None:
    ran: list[str] = []

    async def first() -> None:
        ran.append("first")

    async def second() -> None:
        ran.append("second")

    timings = await compare({"first": first, "second": second}, rounds=2)
    assert ran == ["first", "second", "second", "first", "first", "second"]
    assert [len(seconds) for seconds in timings.seconds.values()] == [2, 2]


def test_a_ratio_is_of_rounds_so_a_load_that_comes_and_goes_is_in_both_halves() -> None:
    timings = Timings({"ours": [2.0, 20.0, 2.0], "plain": [1.0, 10.0, 1.0]})
    assert (timings.median("ours"), timings.ratio("ours", "plain")) == (2.0, 2.0)


def test_a_row_shows_each_floor_and_keeps_its_columns() -> None:
    floors = (Floor("relay", 0.25, 58.4), Floor("plain server", 1300.0, math.nan))
    first, second = Row("lag", "ms", 14.66, floors).lines()
    assert first.split() == ["lag", "ms", "14.7", "0.25", "58.4", "×", "relay"]
    assert second.split() == ["1,300", "plain", "server"]
    assert first.index("0.25") + len("0.25") == second.index("1,300") + len("1,300")


def test_a_row_names_the_goal_of_a_ratio_where_there_is_one() -> None:
    floors = (Floor("plain", 1.0, 2.0, goal=2.5), Floor("other", 1.0, 2.0))
    first, second = Row("turn", "µs", 2.0, floors).lines()
    assert first.endswith("2 ×  plain (goal 2.5 ×)")
    assert second.endswith("2 ×  other")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.00498, "0.005"),
        (0.123, "0.12"),
        (5, "5"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (math.nan, ""),
    ],
)
def test_a_number_shows_the_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


async def test_a_growing_conversation_goes_on_where_the_store_ends() -> None:
    stored = await EveryConversation(25).load("c", 50)
    growing = Growing("c", 25)
    assert growing.position == stored.position == Position(turn=25, answers=25)
    assert list(growing.next_turn()) == messages_of(ended_turn("c", 26))
    assert len(stored.messages) == 50


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_the_provider_says_each_token_once_and_to_the_beat() -> None:
    async with module("benchmarks.provider", "200") as provider, aiohttp.ClientSession() as session:
        answer = await DirectUser(session, provider.port).ask(20)
    assert (len(answer.lags), answer.wrong) == (20, 0)
    # By the stamps; the last is due 95 ms after the first.
    said_first, said_last = answer.first_at - answer.lags[0], answer.last_at - answer.lags[-1]
    assert said_last - said_first > 0.08
    assert 0 < answer.first_after < answer.last_at - answer.asked_at


async def test_a_server_that_loses_or_doubles_a_token_is_found_out() -> None:
    async def careless(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.data == question(6)
            for index in (0, 1, 1, 2, 4, 5):
                await socket.send_str(stamped(index))
            await socket.send_str("")
        return socket

    app = web.Application()
    app.router.add_get("/", careless)
    async with serving(app) as port, aiohttp.ClientSession() as session:
        user = RelayUser(session, port)
        await user.connect()
        answer = await user.ask(6)
        await user.close()
    assert (answer.lost, answer.doubled) == (1, 1)


async def test_a_cold_load_is_timed_beside_each_plain_query(tmp_path: Path) -> None:
    path, turns = tmp_path / "store.db", 2 * ENDED_TURNS_A_CONVERSATION
    store = EmbeddedStore(path)
    await store.connect()
    try:
        corpus.fill_embedded(path, turns)
        with corpus.plain_sqlite_queries(path) as queries:
            seconds = await cold.loads(store, queries, turns, 7)
            assert [len(each) for each in seconds.values()] == [7, 7, 7]
        with pytest.raises(AssertionError, match="lacks turns"):
            await cold.loads(store, {"the plain query": _nothing}, turns, 1)
    finally:
        await store.close()


async def _nothing(conversation_id: str) -> list[object]:
    return []


async def test_mongodb_is_filled_as_a_store_fills_it(tmp_path: Path) -> None:
    require_mongod()
    turns = 2 * ENDED_TURNS_A_CONVERSATION
    with Mongod(tmp_path / "mongod") as server:
        corpus.fill_mongodb(server.uri, "cold", turns)
        with server.client() as client:
            database = client["cold"]
            assert database["turns"].count_documents({}) == turns
            indexes = {*database["turns"].index_information()}
            indexes |= {*database["conversations"].index_information()}
        made = [each.document["name"] for each in [*TURN_INDEXES, *CONVERSATION_INDEXES]]
        assert indexes == {"_id_", *made}
        store, client = MongoStore(server.uri, "cold"), AsyncIOMotorClient(server.uri)
        await store.connect()
        try:
            queries = {"the plain query": corpus.plain_mongodb_query(client["cold"])}
            seconds = await cold.loads(store, queries, turns, 5)
        finally:
            await store.close()
            client.close()
    assert [len(each) for each in seconds.values()] == [5, 5]


async def test_together_or_alone_as_many_turns_are_inserted(tmp_path: Path) -> None:
    inserted: list[Turn] = []

    async def insert(turn: Turn) -> None:
        inserted.append(turn)

    for drive in (stores.together, stores.alone):
        await drive(insert)()
    assert len({turn.id for turn in inserted}) == 2 * stores.AT_ONCE
    store = EmbeddedStore(tmp_path / "store.db")
    await store.connect()
    try:
        with corpus.plain_sqlite_insert(tmp_path / "store.db") as plain:
            await plain(turn := new_turn("c"))
        assert await store.turns.get("c", turn.id) == turn
    finally:
        await store.close()


async def test_every_server_of_the_chat_benchmark_gives_every_token() -> None:
    redis_server_binary()
    async with targets(tokens_per_second=500) as here:
        windows = await chat(here, users=3, tokens=20, rounds=1)
    assert windows.keys() == {"here", "relay", "plain server", "no server"}
    for [window] in windows.values():
        assert window.tokens == len(window.lags) == 60
        assert window.wrong == 0
        assert len(window.firsts) == 3


async def test_a_stampede_counts_every_load_and_every_reader() -> None:
    redis_server_binary()
    found = await stampedes(rounds=2, readers=5)
    assert [len(rushes) for rushes in found.values()] == [2, 2]
    for rush in found["memory"]:
        assert rush["loads"] == 1
        assert len(rush["ms"]) == 5 * PROCESSES
    assert all(1 <= rush["loads"] <= 5 * PROCESSES for rush in found["cache-aside"])


async def test_an_event_that_a_reader_hears_twice_or_not_at_all_is_found_out() -> None:
    async with audience(2) as readers:
        first, second = (connection.sid for connection in readers.connections)
        for number in (7, 8, 9):
            readers.deliver("turn:delta", {"cursor": f"1-{number}"}, [first, second])
        assert await readers.has_heard() == 0
        for number in (10, 10, 12):
            readers.deliver("turn:delta", {"cursor": f"1-{number}"}, [second])
        assert await readers.has_heard() == 2


async def test_every_way_of_the_feed_benchmark_counts_all_events_and_calls() -> None:
    redis_server_binary()
    windows = await feed.load(feed.Level(3, 2, readers=2), deltas=10, rounds=1)
    assert {window.events for [window] in windows.values()} == {3 * 13}
    assert min(window.cpu for [window] in windows.values()) > 0
    [here], [local], [plain] = windows["here"], windows["local log"], windows["plain scripts"]
    assert 3 < here.exchanges <= here.calls < 3 * 13
    assert (local.calls, local.exchanges) == (0, 0)
    assert (plain.calls, plain.exchanges) == (3 * 13, 3)


async def test_every_way_of_delivery_reaches_every_reader() -> None:
    async with audience(3) as readers:
        windows = await deliveries(readers, 3, rounds=1)
    for [window] in windows.values():
        assert window.seconds > 0
        assert window.cpu > 0


async def test_every_way_of_opening_is_timed() -> None:
    redis_server_binary()
    seconds = await opens(rounds=1)
    assert len(seconds) == 5
    assert all(each > 0 for [each] in seconds.values())
