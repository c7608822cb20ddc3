"""The offline demo model: streams, remembers, and says what it is."""

from __future__ import annotations

import itertools

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agent.chat import ChatAgent
from agent.demo import DemoChatModel
from agent.demo_replies import reply_to
from agent.fact_findings import findings_in, request_for
from agent.models import Model, demo_model
from agent.prompt import build_prompt
from agent.tokens import TokenCounter
from memory.facts import Remembered, Source
from memory.records import Message, Transcript
from tests.agent.conversation import Conversation, collect
from tests.support.wait import wait_until


def after(*said: str) -> list[BaseMessage]:
    """The messages of a conversation in which the user said all this, the last unanswered."""
    pairs = ((HumanMessage(text), AIMessage("ok")) for text in said)
    return list(itertools.chain.from_iterable(pairs))[:-1]


@pytest.fixture
async def agent(conversation: Conversation):  # type: ignore[no-untyped-def]
    demo = demo_model()
    model = Model(DemoChatModel(delay=0.0), demo.description, demo.close)
    agent = ChatAgent(
        conversation,
        model,
        system_prompt="",
        context_token_budget=600,
        summary_every_turns=5,
        idle_timeout=5.0,
    )
    yield agent
    await agent.close()


def test_it_finds_what_messages_tell_of_their_user_and_knows_it_later() -> None:
    messages = [
        Message(id=f"m{n}", seq=n, type="human", content=text)
        for n, text in enumerate(("I like tea. My name is Ada", "Good day", "Call me Grace"), 1)
    ]
    sources = [Source(conversation_id="c", message_id=m.id, seq=m.seq or 0, at=1) for m in messages]

    def noted(known: Remembered, *which: int) -> Remembered:
        shown = [messages[n] for n in which]
        answer = reply_to(request_for(shown, known.facts))
        found = findings_in(answer, [sources[n] for n in which], known.facts)
        return known.learned(found, now=1)

    first = noted(Remembered(), 0, 1)
    second = noted(first, 2)
    assert sorted(fact.text for fact in second.facts) == [
        "The user likes tea.",
        "The user's name is Grace.",
    ]
    for question, answer in (
        ("What is my name?", "Your name is Grace."),
        ("What do I like?", "You like tea."),
    ):
        prompt = build_prompt(
            Transcript(messages=[]),
            Message(id="q", seq=1, type="human", content=question),
            system_prompt="",
            budget=4000,
            counter=TokenCounter(),
            facts=second.facts,
            facts_budget=500,
        )
        assert answer in reply_to(prompt.messages)


def test_the_first_answer_says_what_it_is_and_how_to_get_a_real_one() -> None:
    first = reply_to(after("Good morning"))
    assert "offline demo model" in first
    assert "OPENAI_API_KEY" in first
    assert "offline demo model" not in reply_to(after("Good morning", "And now?"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["My name is Ada", "What is my name?"], "Your name is Ada."),
        (["my name's ada", "what's my name"], "Your name is ada."),
        (["I am Grace.", "Who am I?"], "Your name is Grace."),
        (["I'm Zoë and I like tea", "Do you know my name?"], "Your name is Zoë."),
        (["Call me Ishmael", "Call me Ahab", "What is my name?"], "Your name is Ahab."),
        (["I am tired", "What is my name?"], "You haven't told me your name yet."),
        (["Call me later", "What is my name?"], "You haven't told me your name yet."),
        (["I like tea.", "I love old ships", "What do I like?"], "You like tea and old ships."),
        (["One", "Two", "What did I say first?"], 'The first thing you said: "One"'),
        (["One", "Two", "What did I just say?"], 'Before this you said: "Two"'),
        (["One", "Two", "How many messages?"], "With this one I was given 3 messages of yours"),
        (["One", "The sky is blue"], 'You said: "The sky is blue"'),
        (["One", "x" * 5000], "x" * 79 + "…"),
        (["One", "my name is Ada"], "Nice to meet you, Ada."),
    ],
)
def test_it_remembers(said: list[str], expected: str) -> None:
    assert expected in reply_to(after(*said))
    assert reply_to(after(*said)) == reply_to(after(*said))


def test_what_it_remembers_in_one_answer() -> None:
    answer = reply_to(after("I'm Ada.", "I like tea", "Two", "What do you remember?"))
    for fact in ("4 messages", "your name is Ada", "you like tea", '"I\'m Ada."', '"Two"'):
        assert fact in answer


@pytest.mark.parametrize("messages", [[], [HumanMessage("")], [SystemMessage("only")]])
def test_odd_prompts_are_answered(messages: list[BaseMessage]) -> None:
    assert reply_to(messages)


async def test_it_streams_word_by_word_and_reports_usage(
    agent: ChatAgent, conversation: Conversation
) -> None:
    chunks = await collect(agent, conversation.ask("Hello there\n"))
    assert len([chunk for chunk in chunks if chunk.text]) > 20
    assert "".join(chunk.text for chunk in chunks).startswith("Hello! I'm the offline demo model")
    usage = chunks[-1].usage
    assert usage is not None
    assert usage["input_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_the_whole_text_is_what_the_chunks_joined_are() -> None:
    messages = after("One\n\n two", "What do you remember?")
    model = DemoChatModel(delay=0.0)
    streamed = "".join([chunk.text async for chunk in model.astream(messages)])
    assert streamed == (await model.ainvoke(messages)).text == reply_to(messages)


async def test_it_remembers_over_its_own_summary_what_no_longer_fits(
    agent: ChatAgent, conversation: Conversation
) -> None:
    conversation.window = 8
    await conversation.turn(agent, "My name is Ada and I like tea.")
    for number in range(20):
        await conversation.turn(agent, f"Filler number {number}")
        due = (number + 2) // 5
        await wait_until(lambda due=due: len(conversation.saved) >= due, f"summary {due}")
    assert await conversation.turn(agent, "What is my name?") == "Your name is Ada."
    assert await conversation.turn(agent, "What do I like?") == "You like tea."
    first = await conversation.turn(agent, "What did I say first?")
    assert first == 'The first thing you said: "My name is Ada and I like tea."'
    assert "notes on what came before" in await conversation.turn(agent, "What do you remember?")


def test_a_name_told_in_the_question_itself_is_remembered_at_once() -> None:
    reply = reply_to([HumanMessage("My name is Ida. What do you remember?")])
    assert "your name is Ida" in reply


def test_help_says_what_can_be_asked() -> None:
    assert "what is my name?" in reply_to([HumanMessage("help")])
    assert "what is my name?" in reply_to([HumanMessage("What can you do?")])
