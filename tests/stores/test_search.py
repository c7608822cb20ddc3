"""What the permanent stores find, and what they must not find any more."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.records import Hit, Spot
from stores.contract import Store
from stores.search import Searching
from tests.stores.conftest import connected
from tests.stores.samples import (
    USER,
    a_conversation,
    an_answer,
    claimed,
    closed,
    edited,
    inserted,
    next_turn,
    sent,
)


async def said(store: Store, conversation_id: str, question: str, answer: str | None = None) -> str:
    """A whole exchange; the turn's id."""
    turn = await sent(store, conversation_id, content=question, status="running")
    status = "failed" if answer is None else "completed"
    ended = await store.turns.finish(
        turn, status, None if answer is None else an_answer(turn, answer)
    )
    assert ended is not None
    await closed(store, ended)
    return turn.id


async def found(store: Store, query: str, **options: object) -> list[str]:
    user_id = str(options.pop("user_id", USER))
    hits = await store.search.search(user_id, query, **options)  # type: ignore[arg-type]
    return [str(hit.message.content) for hit in hits]


async def test_words_are_found_in_questions_and_in_answers(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "Where is the lighthouse?", "Near the harbour of Portree.")
    await said(store, conversation_id, "And the weather?", "It rains.")
    assert await found(store, "lighthouse") == ["Where is the lighthouse?"]
    assert await found(store, "PORTREE") == ["Near the harbour of Portree."]
    assert await found(store, "snow") == []


async def test_a_hit_names_its_conversation_and_place(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await store.conversations.rename(conversation_id, USER, "Skye")
    await said(store, conversation_id, "hello", "hi")
    turn_id = await said(store, conversation_id, "Where is the lighthouse?", "Near Portree.")
    [hit] = await store.search.search(USER, "Portree")
    assert (hit.conversation.id, hit.conversation.title) == (conversation_id, "Skye")
    assert (hit.message.seq, hit.message.type, hit.message.turn_id) == (4, "ai", turn_id)
    assert str(hit.message.content)[hit.at :].startswith("Portree")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("We ate a crème brûlée.", "creme brulee"),
        ("We ate a creme brulee.", "crème brûlée"),
        ("Die Straße nach Zürich", "zurich"),
        ("Мы были в Казани", "КАЗАНИ"),
        ("私は京都に行きました。", "京都"),
        ("我住在上海的浦东新区。", "上海"),
        ("猫が好きです。", "猫"),
        ("ฉันชอบกินข้าวผัด", "ข้าวผัด"),
        ("저는 서울에서 살아요", "서울"),
        ("They painted the walls", "painting"),
        ("My three stories", "story"),
        ("order ABC-123 came", "abc-123"),
        ("who are you?", "who are you"),
    ],
)
async def test_it_finds_in_other_spellings_and_scripts(store: Store, text: str, query: str) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, text, "something else altogether")
    await said(store, conversation_id, "第二天 nothing", "한글 ไทย")
    assert await found(store, query) == [text]
    assert await found(store, query, conversation_id=conversation_id) == [text]


@pytest.mark.parametrize(
    "query",
    [
        '"', '""', "-", "-lighthouse -", "a AND", "NOT OR (", "lighthouse*", "scope:u1", "^x {",
        "' OR 1=1 --", "$nor", "\\", "\x00", "%", "_", "{$gt: 1}", "text : x", "🙂", " ",
        "\ud83d", "x" * 50_000, "w " * 20_000,
    ],
)  # fmt: skip
async def test_nothing_in_a_query_is_an_operator(store: Store, query: str) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "Where is the lighthouse?", "Near Portree.")
    for text in await found(store, query):
        assert "lighthouse" in query
        assert text == "Where is the lighthouse?"
    assert await found(store, f'"lighthouse" {query[:100]}') == ["Where is the lighthouse?"]
    assert await found(store, "-lighthouse +Portree") != []


async def test_only_ones_own_and_only_the_conversation_asked_for(store: Store) -> None:
    one, two = await a_conversation(store), await a_conversation(store)
    theirs = await a_conversation(store, "user-2")
    await said(store, one, "the lighthouse of one")
    await said(store, two, "the lighthouse of two")
    turn = await next_turn(store, theirs, content="their lighthouse", user_id="user-2")
    await inserted(store, turn)
    assert set(await found(store, "lighthouse")) == {
        "the lighthouse of one",
        "the lighthouse of two",
    }
    assert await found(store, "lighthouse", conversation_id=two) == ["the lighthouse of two"]
    assert await found(store, "lighthouse", conversation_id=theirs) == []
    assert await found(store, "lighthouse", user_id="user-2") == ["their lighthouse"]
    assert await found(store, "lighthouse", user_id="user") == []


async def test_a_message_is_found_from_the_moment_it_is_accepted(store: Store) -> None:
    conversation_id = await a_conversation(store)
    turn = await sent(store, conversation_id, content="the lighthouse")
    assert await found(store, "lighthouse") == ["the lighthouse"]
    running = await claimed(store, turn)
    await store.turns.finish(running, "completed", an_answer(running, "Portree"))
    assert await found(store, "portree") == ["Portree"]
    await store.turns.remove(turn)
    assert await found(store, "portree lighthouse") == []


async def test_what_was_edited_is_not_found_any_more(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "the old lighthouse", "in Portree")
    await said(store, conversation_id, "and the pier?", "in Uig")
    await edited(store, conversation_id, 1, content="the new bridge")
    assert await found(store, "lighthouse portree pier uig") == []
    assert await found(store, "bridge") == ["the new bridge"]


async def test_what_is_edited_is_not_found_while_it_is_not_marked_yet(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "the old lighthouse", "in Portree")
    await said(store, conversation_id, "and the pier?", "in Uig")
    turn = await next_turn(store, conversation_id, rewriting=1, content="the new bridge")
    await inserted(store, turn)
    assert await found(store, "lighthouse portree pier uig") == []
    assert await found(store, "bridge") == ["the new bridge"]


async def test_a_deleted_conversation_is_not_found_from_that_moment(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "the lighthouse", "in Portree")
    await store.conversations.delete(conversation_id, USER)
    assert await found(store, "lighthouse portree") == []
    await store.conversations.purge(conversation_id)
    assert await found(store, "lighthouse portree") == []


async def test_what_fits_best_comes_first_and_no_more_than_asked_for(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for number in range(30):
        await said(store, conversation_id, f"Number {number} in the garden", "Noted.")
    await said(store, conversation_id, "The garden has a walnut tree", "Nice.")
    best = await found(store, "the walnut tree in the garden")
    assert best[0] == "The garden has a walnut tree"
    assert len(best) == 20
    assert await found(store, "walnut garden", limit=3) == best[:3]


async def test_what_stands_beside_comes_along_where_it_is_asked_for(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "hello", "hi")
    await said(store, conversation_id, "Which tree is that?", "A walnut.")
    await said(store, conversation_id, "bye", "see you")
    hits = await store.search.search(USER, "walnut", beside=True)
    assert (hits[0].message.content, hits[0].is_found) == ("A walnut.", True)
    assert {hit.message.content for hit in hits if not hit.is_found} >= {"Which tree is that?"}
    assert await found(store, "walnut") == ["A walnut."]


async def test_the_very_same_text_comes_once(store: Store) -> None:
    conversation_id = await a_conversation(store)
    for _ in range(3):
        await said(store, conversation_id, "Which tree is that?", "A walnut.")
    hits: list[Hit] = await store.search.search(USER, "tree walnut")
    assert {(hit.message.content, hit.message.seq) for hit in hits} == {
        ("Which tree is that?", 5),
        ("A walnut.", 6),
    }
    assert len(hits) == 2


async def test_what_is_near_by_meaning_is_found_without_its_words(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "I have a dog", "Lovely.")
    await said(store, conversation_id, "The pet food is empty", "Buy some.")
    near = [Spot(conversation_id, 1)]
    hits = await store.search.search(USER, "pet", near=near)
    assert {hit.message.content for hit in hits} == {"I have a dog", "The pet food is empty"}
    assert await found(store, "hound", near=near) == ["I have a dog"]
    assert await found(store, "hound", near=[Spot("nobody's", 1)]) == []


async def test_what_has_no_word_is_looked_for_by_meaning_alone(store: Store) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "I adopted a puppy.", "Lovely!")
    near = [Spot(conversation_id=conversation_id, seq=1)]
    assert await found(store, "🐶 ?!", near=near) == ["I adopted a puppy."]


async def test_a_user_has_one_search_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = await a_conversation(store)
    await said(store, conversation_id, "Where is the lighthouse?")
    at_once: list[int] = []
    under_way = 0
    searching = store.search
    assert isinstance(searching, Searching)
    found_by = searching._found

    async def counted(*given: object, **more: object) -> object:
        nonlocal under_way
        under_way += 1
        at_once.append(under_way)
        try:
            return await found_by(*given, **more)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    monkeypatch.setattr(searching, "_found", counted)
    results = await asyncio.gather(*(found(store, "lighthouse") for _ in range(5)))
    assert results == [["Where is the lighthouse?"]] * 5
    assert at_once == [1] * 5


async def test_vectors_go_with_their_turn(store: Store) -> None:
    conversation_id = await a_conversation(store)
    search = store.search
    for number in range(3):
        await said(store, conversation_id, f"question {number}", f"answer {number}")
    await sent(store, conversation_id, content="open")
    missing = await search.without_vectors(USER, conversation_id, "m", among=9, limit=2)
    assert [turn.question.content for turn in missing] == ["question 2", "question 1"]
    assert await search.without_vectors("user-2", conversation_id, "m", among=9, limit=2) == []
    for turn in missing:
        await search.keep_vectors(turn, "m", b"\x01" * turn.n, b"\x02")
    assert await search.without_vectors(USER, conversation_id, "m", among=2, limit=9) == []
    [left] = await search.without_vectors(USER, conversation_id, "m", among=9, limit=9)
    assert left.question.content == "question 0"
    assert len(await search.without_vectors(USER, conversation_id, "other", among=9, limit=9)) == 3
    kept = await search.vectors(USER, "m", since=0, limit=9)
    assert {(each.place, each.question, each.answer) for each in kept} == {
        (2, b"\x01" * 2, b"\x02"),
        (3, b"\x01" * 3, b"\x02"),
    }
    assert await search.vectors(USER, "other", since=0, limit=9) == []
    assert await search.vectors("user-2", "m", since=0, limit=9) == []
    newest = max(each.at for each in kept)
    assert await search.vectors(USER, "m", since=newest + 1, limit=9) == []
    assert await store.turns.get(conversation_id, missing[0].id) == missing[0]

    await edited(store, conversation_id, 3, content="again")
    assert [each.place for each in await search.vectors(USER, "m", since=0, limit=9)] == [2]
    await search.keep_vectors(missing[0], "m", b"late", b"")  # superseded by now
    assert len(await search.vectors(USER, "m", since=0, limit=9)) == 1
    await store.conversations.delete(conversation_id, USER)
    await store.conversations.purge(conversation_id)
    assert await search.vectors(USER, "m", since=0, limit=9) == []
    await search.keep_vectors(missing[1], "m", b"late", b"")  # gone by now
    assert await search.vectors(USER, "m", since=0, limit=9) == []


async def test_a_file_of_an_earlier_version_is_searched(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    async with connected(EmbeddedStore(file, searched=False)) as store:
        conversation_id = await a_conversation(store)
        await said(store, conversation_id, "the lighthouse", "in Portree")
        await said(store, conversation_id, "an old one")
        await edited(store, conversation_id, 2, content="a new one")
    async with connected(EmbeddedStore(file)) as store:
        assert await found(store, "lighthouse") == ["the lighthouse"]
        assert await found(store, "portree") == ["in Portree"]
        assert await found(store, "old new") == ["a new one"]
        await said(store, conversation_id, "the pier", "in Uig")
        await edited(store, conversation_id, 1, content="nothing")
        assert await found(store, "lighthouse portree pier") == []
    with closing(sqlite3.connect(file)) as database:
        database.execute("INSERT INTO words (words) VALUES ('integrity-check')")


async def test_of_a_purged_conversation_no_word_is_in_the_file(tmp_path: Path) -> None:
    async with connected(EmbeddedStore(tmp_path / "store.db")) as store:
        kept, gone = await a_conversation(store), await a_conversation(store)
        for number in range(300):
            await said(store, kept, f"kept sentence number {number}", "fine")
            await said(store, gone, f"zanzibarian{number} secrets", f"xylophonic{number}")
        assert await found(store, "zanzibarian7") == ["zanzibarian7 secrets"]
        await store.conversations.delete(gone, USER)
        await store.conversations.purge(gone)
        assert await found(store, "number 7", limit=1) == ["kept sentence number 7"]
        for file in tmp_path.iterdir():
            for word in (b"zanzibarian", b"xylophonic"):
                assert word not in file.read_bytes(), file


async def test_two_stores_rank_alike(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from mongo.store import MongoStore

    mongod = request.getfixturevalue("mongod")
    name = request.getfixturevalue("mongo_database")
    texts = [
        ("I adopted a greyhound called Rosa", "Congratulations! How old is Rosa?"),
        ("She is four", "A good age for a greyhound."),
        ("My sister paints in oil", "What does she paint?"),
        ("Mostly harbours and boats", "Lovely."),
        ("The boat race was cancelled", "A pity."),
        ("Rosa hates boats", "Many dogs do."),
    ]
    orders = []
    for made in (EmbeddedStore(tmp_path / "store.db"), MongoStore(mongod.uri, name)):
        async with connected(made) as store:
            conversation_id = await a_conversation(store)
            for question, answer in texts:
                await said(store, conversation_id, question, answer)
            orders.append(
                [
                    await found(store, query, beside=True)
                    for query in ("What is my greyhound's name?", "painting boats", "Rosa boats")
                ]
            )
    assert orders[0] == orders[1]
    assert all(orders[0])
