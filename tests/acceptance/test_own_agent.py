"""An agent of the operator's own (AGENT), behind a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import HOME, KEPT, App
from tests.support.client import Client
from tests.support.collector import Collector
from tests.support.provider import Body, Provider, Script, ToolCall
from tests.support.wait import wait_until

AGENTS = "tests.support.agents"


@pytest.fixture
def start(start_app: StartApp, provider: Provider) -> StartApp:
    """A server with this agent."""

    def begun(agent: str, **settings: str) -> App:
        agent = agent if ":" in agent else f"{AGENTS}:{agent}"
        return start_app(**with_provider(provider, **{"AGENT": agent, "TITLES": "0", **settings}))

    return begun


async def context(client: Client, told: dict[str, Any]) -> dict[str, Any]:
    answer = await client.ok(
        "turn:context", conversation_id=told["conversation_id"], turn_id=told["turn_id"]
    )
    found: dict[str, Any] = answer["context"]
    return found


# The examples


async def test_the_example_graph_streams_uses_its_tool_and_remembers(
    start: StartApp, provider: Provider
) -> None:
    def respond(body: Body) -> Script:
        if body["messages"][-1]["role"] == "user":
            call = ToolCall("time_in", {"place": "Europe/Paris"})
            return Script(["Let ", "me ", "look."], calls=[call])
        return Script(["It ", "is ", body["messages"][-1]["content"], "."])

    provider.respond = respond
    app = start("examples.langgraph_agent:graph")
    assert "model   your own: examples.langgraph_agent:graph" in app.output
    async with Client(app.url) as guest:
        told = await guest.ask("What time is it in Paris?")
        [started, finished] = guest.all("turn:tool", turn_id=told["turn_id"])
        use = finished["tool"]
        assert started["tool"] == {
            "id": use["id"],
            "name": "time_in",
            "status": "started",
            "input": {"place": "Europe/Paris"},
        }
        assert use["status"] == "finished"
        assert use["input"] == {"place": "Europe/Paris"}
        assert told["message"]["content"] == f"Let me look.\n\nIt is {use['output']}."
        assert guest.streamed(told["turn_id"]) == told["message"]["content"]
        # In its place: after what was said before it, and before what was said with it.
        names = [name for name, payload in guest.feed(told["conversation_id"])]
        tools = [at for at, name in enumerate(names) if name == "turn:tool"]
        deltas = [at for at, name in enumerate(names) if name == "turn:delta"]
        assert min(deltas) < tools[0] < tools[1] < max(deltas)
        asked = [request.body for request in provider.chats]
        assert [each["tools"][0]["function"]["name"] for each in asked] == ["time_in"] * 2
        # Both requests to the model count.
        assert told["usage"]["output_tokens"] == 3 + 4
        given = await context(guest, told)
        assert (given["model"], given["rounds"]) == ("examples.langgraph_agent:graph", 2)
        assert [each["name"] for each in given["tools"]] == ["time_in"]

        provider.respond = lambda body: Script(["You asked for the time."])
        again = await guest.ask("What did I ask?", told["conversation_id"])
        assert again["message"]["content"] == "You asked for the time."
        assert [m["content"] for m in provider.chats[-1].messages] == [
            "What time is it in Paris?",
            told["message"]["content"],
            "What did I ask?",
        ]


async def test_the_example_chain_answers(start: StartApp) -> None:
    app = start("examples.echo_chain:chain")
    async with Client(app.url) as guest:
        told = await guest.ask("one two three")
        whose = guest.session["user_id"]
        assert told["message"]["content"] == f"Message 1 of {whose}: one two three"
        assert guest.streamed(told["turn_id"]) == told["message"]["content"]
        again = await guest.ask("four", told["conversation_id"])
        assert again["message"]["content"] == f"Message 3 of {whose}: four"


# What it is given


async def test_it_is_told_whose_question_it_is(start: StartApp) -> None:
    app = start("ids")
    async with Client(app.url) as guest:
        told = await guest.ask("who am I?")
        configurable, metadata = json.loads(told["message"]["content"])
        ids = {
            "conversation_id": told["conversation_id"],
            "user_id": guest.session["user_id"],
            "turn_id": told["turn_id"],
        }
        assert metadata | ids == metadata
        more = {"attempt": 1, "model": "test-model", "thread_id": f"{told['turn_id']}:1"}
        assert configurable == ids | more


async def test_it_is_given_what_memory_has_and_the_system_prompt_where_one_was_set(
    start: StartApp, provider: Provider
) -> None:
    async with Client(start("seen", SYSTEM_PROMPT="").url) as guest:  # as .env.example has it
        first = await guest.ask("one")
        assert json.loads(first["message"]["content"]) == [["human", "one"]]
        second = await guest.ask("two", first["conversation_id"])
        assert json.loads(second["message"]["content"]) == [
            ["human", "one"],
            ["ai", first["message"]["content"]],
            ["human", "two"],
        ]
    app = start("seen", SYSTEM_PROMPT="Be brief.", SUMMARY_EVERY_TURNS="1")
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        assert json.loads(first["message"]["content"])[0] == ["system", "Be brief."]
        # The built-in model sums it up for it.
        await wait_until(lambda: "The summary was renewed" in app.output, "it is summed up")
        second = await guest.ask("two", first["conversation_id"])
        kind, text = json.loads(second["message"]["content"])[0]
        assert kind == "system"
        assert text.startswith("Be brief.")
        assert "summary of 2 messages" in text
        assert provider.chats == []


async def test_without_a_provider_nothing_is_summed_up(start_app: StartApp) -> None:
    app = start_app(AGENT=f"{AGENTS}:seen", SUMMARY_EVERY_TURNS="1")
    async with Client(app.url) as guest:
        first = await guest.ask("one")
        second = await guest.ask("two", first["conversation_id"])
        assert [kind for kind, _ in json.loads(second["message"]["content"])] == [
            "human",
            "ai",
            "human",
        ]
    assert app.stop() == 0
    assert "summary" not in app.output.lower()


# What is its answer


async def test_what_a_plain_chain_says_comes_as_the_model_says_it(
    start: StartApp, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.respond = lambda body: Script(["one ", "two ", "three"], gate=gate)
    async with Client(start("plain").url) as guest:
        sent = await guest.send("count")
        await wait_until(lambda: guest.streamed(sent["turn"]["id"]) == "one ", "it begins")
        gate.set()
        told = await guest.completed(sent["turn"]["id"])
        assert told["message"]["content"] == "one two three"
        assert guest.streamed(sent["turn"]["id"]) == "one two three"
        assert told["usage"]["output_tokens"] == 3


@pytest.mark.parametrize("agent", ["silent", "chain"])
async def test_a_model_that_only_prepares_the_answer_is_not_heard(
    start: StartApp, provider: Provider, agent: str
) -> None:
    async with Client(start(agent).url) as guest:
        told = await guest.ask("hello")
        before = {"silent": "do as planned:", "chain": "rewritten:"}[agent]
        assert told["message"]["content"] == f"echo: {before} echo: hello"
        assert guest.streamed(told["turn_id"]) == told["message"]["content"]
        assert len(provider.chats) == 2


async def test_a_graph_with_a_memory_of_its_own_is_told_nothing_twice(
    start: StartApp, provider: Provider
) -> None:
    def respond(body: Body) -> Script:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return Script(["Told."])
        if last["content"] == "look":
            calls = [ToolCall("lookup", {"word": word}) for word in ("tree", "nothing")]
            return Script(calls=calls)
        return Script(["Fine."])

    provider.respond = respond
    app = start("remembering")
    async with Client(app.url) as guest:
        told = await guest.ask("look")
        assert told["message"]["content"] == "Told."
        uses = [payload["tool"] for payload in guest.all("turn:tool")]
        assert sorted((use["status"], use.get("output")) for use in uses) == [
            ("failed", "LookupError"),
            ("finished", "tree means well"),
            ("started", None),
            ("started", None),
        ]
        ended = {use["id"]: use["input"]["word"] for use in uses if use["status"] != "started"}
        begun = {use["id"]: use["input"]["word"] for use in uses if use["status"] == "started"}
        assert begun == ended
        assert sorted(begun.values()) == ["nothing", "tree"]
        assert "secret shelf" not in json.dumps(guest.events)
        await guest.ask("and?", told["conversation_id"])
        assert [m["content"] for m in provider.chats[-1].messages] == ["look", "Told.", "and?"]


# How it ends


async def test_a_stop_ends_it_in_the_middle(start: StartApp, provider: Provider) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    async with Client(start("examples.langgraph_agent:graph").url) as guest:
        sent = await guest.send("go")
        await wait_until(lambda: guest.all("turn:delta"), "it begins")
        stopped = await guest.stop(sent["conversation_id"], sent["turn"]["id"])
        assert stopped["status"] == "stopped"
        _, told = await guest.ended(sent["turn"]["id"])
        assert (told["message"]["content"], told["message"]["status"]) == ("half ", "stopped")
        await wait_until(lambda: provider.open_streams == 0, "the provider's stream is closed")


async def test_one_that_does_not_end_is_not_heard_any_more(start: StartApp) -> None:
    app = start("deaf")
    async with Client(app.url) as guest:
        sent = await guest.send("go")
        await wait_until(lambda: guest.all("turn:delta"), "it begins")
        stopped = await guest.stop(sent["conversation_id"], sent["turn"]["id"])
        assert stopped["status"] == "stopped"
        _, told = await guest.ended(sent["turn"]["id"])
        assert told["message"]["content"] == "half "
    assert app.stop() == 0
    assert "AGENT does not end when it is cancelled" in app.output


async def test_what_it_fails_with_is_in_the_log_and_nobody_elses_business(start: StartApp) -> None:
    app = start("fails")
    async with Client(app.url) as guest:
        sent = await guest.send("go")
        name, told = await guest.ended(sent["turn"]["id"])
        assert name == "turn:failed"
        assert told["error"] == {
            "code": "internal",
            "message": "The answer could not be made.",
            "retryable": True,
        }
        assert told["message"]["content"] == "so far "
        assert "RuntimeError: mongodb://user:hunter2@db is down" in app.output
        assert "Traceback" in app.output
        assert "agents.py" in app.output
        async with aiohttp.ClientSession() as session, session.get(f"{app.url}/readyz") as ready:
            assert "could not be made" in (await ready.json())["model"]
        again = await guest.ask("go on", sent["conversation_id"])
        assert again["message"]["content"] == "so far and further"


@pytest.mark.parametrize(
    ("script", "code", "partial"),
    [
        (Script(status=401), "invalid", None),
        (Script(status=429), "rate_limited", None),
        (Script(["some ", "lost"], cut_after=1), "unavailable", "some "),
    ],
    ids=["refused", "busy", "cut"],
)
async def test_what_its_models_provider_says_is_told_as_of_the_built_in_agents(
    start: StartApp, provider: Provider, script: Script, code: str, partial: str | None
) -> None:
    provider.respond = lambda body: script
    app = start("examples.langgraph_agent:graph")
    async with Client(app.url) as guest:
        sent = await guest.send("try")
        name, told = await guest.ended(sent["turn"]["id"])
        assert (name, told["error"]["code"]) == ("turn:failed", code)
        assert (told["message"] or {}).get("content") == partial


async def test_one_in_which_nothing_happens_is_given_up(start: StartApp) -> None:
    async with Client(start("hangs", TURN_IDLE_TIMEOUT_SECONDS="1").url) as guest:
        sent = await guest.send("go")
        name, told = await guest.ended(sent["turn"]["id"])
        assert (name, told["error"]["code"]) == ("turn:failed", "unavailable")
        assert told["error"]["message"] == "The agent stopped answering."
        assert told["message"]["content"] == "half "


async def test_one_that_is_not_async_holds_nobody_up(start: StartApp) -> None:
    app = start("blocking", TURN_IDLE_TIMEOUT_SECONDS="5")
    async with Client(app.url) as guest:
        # More of them at once than asyncio has threads for.
        slow = [await guest.send("1.5") for _ in range(12)]
        begun = time.monotonic()
        await guest.ok("conversation:list")
        assert time.monotonic() - begun < 1
        for sent in slow:
            told = await guest.completed(sent["turn"]["id"])
            assert told["message"]["content"] == "slept 1.5"
        assert time.monotonic() - begun < 4.5
        stuck = await guest.send("3600")
        name, told = await guest.ended(stuck["turn"]["id"])
        assert (name, told["error"]["code"]) == ("turn:failed", "unavailable")
    # Its thread sleeps on, and keeps the process from nothing.
    assert app.stop() == 0


async def test_pieces_that_are_not_async_come_one_by_one(start: StartApp) -> None:
    async with Client(start("in_pieces").url) as guest:
        told = await guest.ask("one two three")
        assert told["message"]["content"] == "one two three "
        assert len(guest.all("turn:delta")) > 1


async def test_another_server_begins_its_answer_anew(
    start_app: StartApp, provider: Provider, shared: dict[str, str]
) -> None:
    settings = {**shared, "AGENT": "examples.langgraph_agent:graph"}
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    first, second = start_app(**settings), start_app(**settings)
    guest = await Client(first.url).connect()
    sent = await guest.send("one")
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    provider.respond = lambda body: Script(["whole"])
    first.kill()
    async with Client(second.url, guest.token) as tab:
        await tab.open(sent["conversation_id"])
        told = await tab.completed(sent["turn"]["id"])
        assert told["message"]["content"] == "whole"
        assert await tab.contents(sent["conversation_id"]) == ["one", "whole"]
    await guest.close()


async def test_its_models_and_tools_are_in_the_trace(start: StartApp, provider: Provider) -> None:
    def respond(body: Body) -> Script:
        if body["messages"][-1]["role"] == "user":
            words = ("whispered", "nothing")
            return Script(calls=[ToolCall("lookup", {"word": word}) for word in words])
        return Script(["two ", "tokens"])

    provider.respond = respond
    async with Collector() as collector:
        app = start("remembering", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with Client(app.url) as guest:
            await guest.ask("whispered")
        assert await asyncio.to_thread(app.stop) == 0
    [turn] = collector.named("turn")
    chats = [span for span in collector.under(turn) if span.name == "chat"]
    assert [span.attributes["gen_ai.request.model"] for span in chats] == ["test-model"] * 2
    assert sorted(span.attributes["gen_ai.usage.output_tokens"] for span in chats) == [0, 2]
    uses = [span for span in collector.under(turn) if span.name == "execute_tool lookup"]
    assert sorted((span.failed, span.attributes.get("error.type")) for span in uses) == [
        (False, None),
        (True, "LookupError"),
    ]
    assert b"whispered" not in collector.bytes


# How it is made


@pytest.mark.parametrize("agent", ["made_later", "opened"])
async def test_a_function_makes_it(start: StartApp, agent: str) -> None:
    app = start(agent)
    async with Client(app.url) as guest:
        told = await guest.ask("hello")
        assert json.loads(told["message"]["content"]) == [["human", "hello"]]
    assert app.stop() == 0
    if agent == "opened":
        assert app.output.index("OPENED") < app.output.index("CLOSED")


async def test_it_may_ask_for_the_operators_tools(start: StartApp) -> None:
    app = start("offered", TOOLS=f"{AGENTS}:tools")
    async with Client(app.url) as guest:
        assert (await guest.ask("which?"))["message"]["content"] == "offered: lookup"
    assert "TOOLS is not used" not in app.output
    assert "TOOLS is not used" in start("seen", TOOLS=f"{AGENTS}:tools").output


async def test_it_may_be_beside_where_the_server_is_started(
    start: StartApp, tmp_path: Path
) -> None:
    (tmp_path / "my_agent.py").write_text(
        "from langchain_core.runnables import RunnableLambda\n"
        "agent = RunnableLambda(lambda given: given['messages'][-1].text.upper())\n"
    )
    async with Client(start("my_agent:agent").url) as guest:
        assert (await guest.ask("loud"))["message"]["content"] == "LOUD"


async def test_each_worker_has_it(start: StartApp, provider: Provider, redis_server: Any) -> None:
    app = start("ids", WORKERS="2", REDIS_URL=redis_server.url)
    async with Client(app.url) as one, Client(app.url) as other:
        for guest in (one, other):
            told = await guest.ask("who?")
            configurable, _ = json.loads(told["message"]["content"])
            assert configurable["user_id"] == guest.session["user_id"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no_such:agent", "ModuleNotFoundError: No module named 'no_such'."),
        (f"{AGENTS}:absent", f"{AGENTS} has no absent."),
        (f"{AGENTS}:not_an_agent", "that is an int, and no LangChain Runnable."),
        (
            f"{AGENTS}:needs_more",
            "it asks for database, and may ask for model and tools; a function",
        ),
        (f"{AGENTS}:breaks", "it failed: ValueError: no such file ("),
        (f"{AGENTS}:uncompiled", "it gave a StateGraph, which is no LangChain Runnable; compile()"),
    ],
)
def test_one_that_can_not_be_used_ends_the_start_with_one_line(
    tmp_path: Path, name: str, line: str
) -> None:
    environment = {each: os.environ[each] for each in KEPT if each in os.environ}
    settings = {"AGENT": name, "PORT": "0", "DATA_DIR": str(tmp_path), "LOG_LEVEL": "error"}
    ended = subprocess.run(
        [sys.executable, str(HOME / "main.py")],
        env=environment | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Mnemosio can't start: AGENT is {name}; {line}"), ended.stderr
    assert ended.stderr.count("\n") == 1
