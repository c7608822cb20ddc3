"""The memory in front of a permanent store: the same through Redis and without it."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from memory import RedisConversationMemory
from memory.errors import NotFound, Unavailable
from memory.records import Message, Position, Summary
from tests.memory.conftest import Make
from tests.support.archive import ArchiveInMemory


@pytest.fixture
def memory(make: Make, url: str, archive: ArchiveInMemory) -> RedisConversationMemory:
    return make(redis_url=url, archive=archive)


async def exchange(memory: RedisConversationMemory, archive: ArchiveInMemory, turns: int) -> None:
    """As the server does it: the store first, then memory, and a read for each answer."""
    for _ in range(turns):
        question, asked = archive.ask("c")
        await memory.remember("c", question, asked)
        transcript = await memory.read("c", at_least=asked)
        assert transcript.messages[-1] == question
        await memory.remember("c", *archive.answer("c", asked.turn))


async def test_a_cold_conversation_is_loaded(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    position = archive.fill("c", 3)
    transcript = await memory.read("c", at_least=position)
    assert transcript.messages == archive.messages("c")
    assert transcript.position == position


async def test_a_warm_conversation_is_not_loaded_again(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 30)
    position = archive.position("c")
    transcript = await memory.read("c", at_least=position)
    assert transcript.messages == archive.messages("c")[-50:]
    assert transcript.position == position
    assert archive.loads == 1


async def test_langchains_history_is_the_stores(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 1)
    question, answer = archive.messages("c")
    assert await memory.get_conversation_history("c") == [
        HumanMessage(question.content, id=question.id),
        AIMessage(answer.content, id=answer.id),
    ]


async def test_a_reader_who_knows_of_more_gets_it(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    # Another server's memory never heard of these.
    question, asked = archive.ask("c")
    assert (await memory.read("c", at_least=asked)).messages[-1] == question
    answer, answered = archive.answer("c", asked.turn)
    assert (await memory.read("c", at_least=answered)).messages[-1] == answer


async def test_a_new_revision_replaces_the_old(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    position = archive.rewrite("c")
    transcript = await memory.read("c", at_least=position)
    assert transcript.messages == archive.messages("c")
    assert transcript.position.revision == 1


async def test_a_message_of_an_old_revision_is_refused(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    position = archive.rewrite("c")
    await memory.read("c", at_least=position)
    late = Message(id="late", seq=4, type="ai", content="of the old revision")
    await memory.remember("c", late, Position(revision=0, turn=2, answers=2))
    assert (await memory.read("c", at_least=position)).messages == archive.messages("c")


async def test_remembering_again_changes_nothing(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    question, asked = archive.ask("c")
    await memory.remember("c", question, asked)
    await memory.remember("c", question, asked)
    answer, answered = archive.answer("c", 3)
    await memory.remember("c", answer, answered)
    await memory.remember("c", answer, answered)
    await memory.remember("c", question, asked)
    transcript = await memory.read("c", at_least=answered)
    assert transcript.messages == archive.messages("c")
    assert transcript.position == answered
    assert archive.loads == 1


async def test_a_repetition_of_what_was_trimmed_changes_nothing(
    make: Make, url: str, archive: ArchiveInMemory
) -> None:
    memory = make(4, url, archive=archive)
    question, asked = archive.ask("c")
    await memory.remember("c", question, asked)
    await memory.read("c", at_least=asked)
    answer, answered = archive.answer("c", 1)
    await memory.remember("c", answer, answered)
    await exchange(memory, archive, 4)
    await memory.remember("c", question, asked)
    await memory.remember("c", answer, answered)
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")[-4:]
    assert transcript.position.answers == 5
    assert archive.loads == 1


async def test_messages_find_their_place_in_any_order(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 1)
    waiting = [archive.ask("c") for _ in range(3)]
    for question, asked in waiting:
        await memory.remember("c", question, asked)
    for n in (2, 3, 4):
        await memory.remember("c", *archive.answer("c", n))
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.messages == archive.messages("c")
    assert [m.seq for m in transcript.messages] == list(range(1, 9))
    assert archive.loads == 1


async def test_an_answer_to_a_trimmed_question_is_counted(
    make: Make, url: str, archive: ArchiveInMemory
) -> None:
    memory = make(2, url, archive=archive)
    for _ in range(3):
        question, asked = archive.ask("c")
        await memory.remember("c", question, asked)
        await memory.read("c", at_least=asked)
    _late, answered = archive.answer("c", 1)
    await memory.remember("c", _late, answered)
    transcript = await memory.read("c", at_least=answered)
    assert [m.seq for m in transcript.messages] == [3, 5]
    assert transcript.position.answers == 1
    assert archive.loads == 1


async def test_an_answer_is_not_kept_without_its_question(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    _question, asked = archive.ask("c")  # memory has lost it, as a Redis that came back older has
    _answer, answered = archive.answer("c", asked.turn)
    await memory.remember("c", _answer, answered)
    transcript = await memory.read("c", at_least=answered)
    assert transcript.messages == archive.messages("c")


@pytest.mark.parametrize("lost", ["question", "answer"])
async def test_a_lost_message_is_noticed_by_the_next(
    memory: RedisConversationMemory, archive: ArchiveInMemory, lost: str
) -> None:
    await exchange(memory, archive, 2)
    if lost == "question":
        archive.ask("c")  # memory never hears of it
        await memory.remember("c", *archive.ask("c"))
    else:
        await memory.remember("c", *archive.ask("c"))
        archive.answer("c", 3)  # memory never hears of it
        await memory.remember("c", *archive.ask("c"))
        await memory.remember("c", *archive.answer("c", 4))
    assert (await memory.read("c")).messages == archive.messages("c")


async def test_an_unknown_conversation_is_not_found(memory: RedisConversationMemory) -> None:
    with pytest.raises(NotFound):
        await memory.read("nobody's")


async def test_an_empty_conversation_is_empty(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    archive.fill("c", 0)
    assert (await memory.read("c")).messages == []


async def test_a_cold_conversation_is_unavailable_while_the_store_is_away(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    archive.fill("c", 2)
    archive.is_away = True
    with pytest.raises(Unavailable):
        await memory.read("c")
    with pytest.raises(Unavailable):
        await memory.get_conversation_history("c")
    archive.is_away = False
    assert (await memory.read("c")).messages == archive.messages("c")


async def test_a_warm_conversation_is_read_while_the_store_is_away(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    archive.is_away = True
    position = archive.position("c")
    assert (await memory.read("c", at_least=position)).messages == archive.messages("c")
    assert (await memory.read("c")).messages == archive.messages("c")


async def test_what_lags_behind_is_not_answered_while_the_store_is_away(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    _question, asked = archive.ask("c")
    archive.is_away = True
    with pytest.raises(Unavailable):
        await memory.read("c", at_least=asked)


async def test_a_forgotten_conversation_is_gone_for_late_messages_too(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    question, asked = archive.ask("c")
    archive.delete("c")
    await memory.forget("c")
    await memory.remember("c", question, asked)
    with pytest.raises(NotFound):
        await memory.read("c")


async def test_a_summary_is_kept_in_the_store_and_here(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    first = Summary(text="they greeted", upto=2, turns=2, version=1)
    second = Summary(text="they talked", upto=4, turns=2, version=2)
    assert await memory.save_summary("c", first, revision=0)
    assert not await memory.save_summary("c", first, revision=0)
    assert not await memory.save_summary("c", second, revision=7)
    assert await memory.save_summary("c", second, revision=0)
    assert (await memory.read("c", at_least=archive.position("c"))).summary == second
    assert await memory.get_summary("c") == "they talked"


async def test_a_summary_stays_when_messages_follow(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    summary = Summary(text="they greeted", upto=2, turns=2, version=1)
    await memory.save_summary("c", summary, revision=0)
    await exchange(memory, archive, 1)
    transcript = await memory.read("c", at_least=archive.position("c"))
    assert transcript.summary == summary
    assert len(transcript.messages) == 6


async def test_what_a_summary_needs_comes_from_the_store(
    make: Make, url: str, archive: ArchiveInMemory
) -> None:
    memory = make(4, url, archive=archive)
    archive.fill("c", 10)
    later = await memory.messages_after("c", 2, 5)
    assert [message.seq for message in later] == [3, 4, 5, 6, 7]


async def test_concurrent_turns_of_many_conversations_keep_apart(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    async def converse(name: str) -> None:
        for _ in range(8):
            question, asked = archive.ask(name)
            await memory.remember(name, question, asked)
            await memory.read(name, at_least=asked)
            await memory.remember(name, *archive.answer(name, asked.turn))
        transcript = await memory.read(name, at_least=archive.position(name))
        assert transcript.messages == archive.messages(name)

    await asyncio.gather(*(converse(f"c{n}") for n in range(20)))


async def test_only_the_store_takes_messages_first(memory: RedisConversationMemory) -> None:
    with pytest.raises(RuntimeError, match="permanent store is written first"):
        await memory.add_message("c", HumanMessage("only in the cache"))


async def test_a_message_without_its_number_is_refused(memory: RedisConversationMemory) -> None:
    message = Message(id="m", type="human", content="?")
    with pytest.raises(ValueError, match="number"):
        await memory.remember("c", message, Position())


async def test_a_reader_who_has_not_heard_of_an_edit_gets_it(
    memory: RedisConversationMemory, archive: ArchiveInMemory
) -> None:
    await exchange(memory, archive, 2)
    before = archive.position("c")
    edited = archive.rewrite("c")
    await memory.read("c", at_least=edited)
    assert (await memory.read("c", at_least=before)).messages == archive.messages("c")
    assert archive.loads == 2
