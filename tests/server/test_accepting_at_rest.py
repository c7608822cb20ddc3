"""Messages to a conversation that came to rest here: accepted by what is kept in mind of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from memory.errors import NotFound
from memory.records import Choice, Turn
from mongo.store import MongoStore
from server.protocol import SendMessage
from tests.server.test_turns import USER, Server
from tests.support.mongod import Mongod
from tests.support.wait import wait_until

# A lease so long that it need not be renewed.
LONG_MS = 60_000


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod")) as server:
        yield server


@pytest.fixture
async def stores(mongod: Mongod) -> AsyncIterator[tuple[MongoStore, MongoStore]]:
    """Two servers' on the same data."""
    name = f"t{uuid.uuid4().hex[:12]}"
    here, there = MongoStore(mongod.uri, name), MongoStore(mongod.uri, name)
    await asyncio.gather(here.connect(), there.connect())
    yield here, there
    await asyncio.gather(here.close(), there.close())
    with mongod.client() as client:
        client.drop_database(name)


async def at_rest(server: Server, turn: Turn) -> None:
    def rests() -> bool:
        rest = server.store.turns.at_rest(turn.conversation_id)
        return rest is not None and rest.n == turn.n

    await wait_until(rests, "the conversation is at rest")


def refusing(*arguments: object) -> None:
    """In a read's place: that one is not made is seen only where it would fail."""
    raise AssertionError("the conversation was read")


async def test_a_followed_conversation_is_not_read_again(
    stores: tuple[MongoStore, MongoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(stores[0], lease_ms=LONG_MS)
    server.agent.gate.set()
    first = await server.send("first")
    await at_rest(server, first)
    monkeypatch.setattr(stores[0].conversations, "get", refusing)
    monkeypatch.setattr(stores[0].turns, "last", refusing)
    monkeypatch.setattr(stores[0].turns, "answers_before", refusing)
    second = await server.send("second", first.conversation_id, follows=True)
    assert (second.n, second.place, second.status) == (2, 2, "running")
    await at_rest(server, second)
    kept = await stores[0].turns.get(second.conversation_id, second.id)
    assert kept is not None
    assert kept.answers == 2


async def test_it_goes_on_after_what_another_server_has_accepted(
    stores: tuple[MongoStore, MongoStore],
) -> None:
    here, there = Server(stores[0], lease_ms=LONG_MS), Server(stores[1], lease_ms=LONG_MS)
    here.agent.gate.set()
    first = await here.send("first")
    await here.answered(first)  # and closed: to the other one it is at rest only then
    second = await there.send("second", first.conversation_id)  # its agent is at it
    third = await here.send("third", first.conversation_id, follows=True)
    assert (second.n, second.status) == (2, "running")
    assert (third.n, third.place, third.status) == (3, 3, "queued")
    there.agent.gate.set()


async def test_the_same_message_on_two_servers_is_one(
    stores: tuple[MongoStore, MongoStore],
) -> None:
    here, there = Server(stores[0], lease_ms=LONG_MS), Server(stores[1], lease_ms=LONG_MS)
    here.agent.gate.set()
    first = await here.send("first")
    await at_rest(here, first)
    same = [
        server.send("second", first.conversation_id, follows=True)
        for server in (here, there, here, there)
    ]
    assert {turn.n for turn in await asyncio.gather(*same)} == {2}
    there.agent.gate.set()


async def test_one_that_was_deleted_takes_nothing(stores: tuple[MongoStore, MongoStore]) -> None:
    server = Server(stores[0], lease_ms=LONG_MS)
    server.agent.gate.set()
    first = await server.send("first")
    await at_rest(server, first)
    await stores[1].conversations.delete(first.conversation_id, USER)
    await stores[1].conversations.purge(first.conversation_id)
    with pytest.raises(NotFound):
        await server.send("second", first.conversation_id, follows=True)
    assert await stores[0].turns.by_message(USER, "second") is None


async def test_another_users_is_not_there(stores: tuple[MongoStore, MongoStore]) -> None:
    server = Server(stores[0], lease_ms=LONG_MS)
    server.agent.gate.set()
    first = await server.send("first")
    await at_rest(server, first)
    call = SendMessage(message_id="second", content="x", conversation_id=first.conversation_id)
    with pytest.raises(NotFound):
        await server.acceptance.place("somebody else", call, follows=True)


async def test_it_is_answered_as_it_was_configured_on_another_server(
    stores: tuple[MongoStore, MongoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Server(stores[0], lease_ms=LONG_MS), stores[1].conversations
    here.agent.gate.set()
    first = await here.send("first")
    await at_rest(here, first)
    conversation_id = first.conversation_id
    await there.configure(conversation_id, USER, model="larger")
    second = await here.send("second", conversation_id, follows=True)
    kept = await stores[1].turns.get(conversation_id, second.id)
    assert kept is not None
    assert second.choice == kept.choice == Choice(model="larger")
    await at_rest(here, second)
    # From here on it is known, and costs nothing any more.
    monkeypatch.setattr(stores[0].turns, "choose", refusing)
    third = await here.send("third", conversation_id, follows=True)
    assert third.choice == Choice(model="larger")
    await at_rest(here, third)
    # The second was begun as it was known here, and given up before anybody was told of that.
    asked = [request.choice.model for request in here.agent.requests]
    assert asked in ([None, None, "larger", "larger"], [None, "larger", "larger"])
