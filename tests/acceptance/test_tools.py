"""Tools of the operator's (TOOLS), behind real servers: seen, stopped, and done once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import App
from tests.support.client import Client
from tests.support.mongod import Mongod
from tests.support.provider import Body, Provider, Script, ToolCall, is_guard
from tests.support.story import Story
from tests.support.toolbox import Shop
from tests.support.wait import wait_until

TOOLS = "tests.support.toolbox:tools"


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    await shop.start()
    yield shop
    await shop.stop()


@pytest.fixture
def with_tools(shop: Shop) -> dict[str, str]:
    return {"TOOLS": TOOLS, "SHOP_URL": shop.url}


@pytest.fixture
def app(start_app: StartApp, provider: Provider, with_tools: dict[str, str]) -> App:
    return start_app(**with_provider(provider, **with_tools))


@pytest.fixture
def pair(
    start_app: StartApp, shared: dict[str, str], with_tools: dict[str, str]
) -> tuple[App, App]:
    """Two servers that share everything, tools too."""
    return start_app(**shared, **with_tools), start_app(**shared, **with_tools)


def once(*calls: ToolCall, text: str = "Let me see.") -> Any:
    """Asks for these where no tool has given anything yet, and says then what they gave."""

    def respond(body: Body) -> Script:
        if is_guard(body):
            return Script(["yes"])
        given = [each["content"] for each in body["messages"] if each["role"] == "tool"]
        return Script(["It ", "said: ", *given]) if given else Script([text], calls=list(calls))

    return respond


def tools_of(client: Client, turn_id: str) -> list[dict[str, Any]]:
    return [event["tool"] for event in client.all("turn:tool") if event["turn_id"] == turn_id]


async def test_a_use_of_a_tool_is_told_in_its_place_and_is_part_of_the_answer(
    app: App, provider: Provider, shop: Shop
) -> None:
    provider.respond = once(ToolCall("look", {"what": "it"}, "c1"))
    async with Client(app.url) as guest:
        sent = await guest.send("look it up")
        turn_id = sent["turn"]["id"]
        told = await guest.completed(turn_id)
        names = [
            name
            for name, event in guest.events
            if event.get("turn_id") == turn_id and name.startswith("turn:")
        ]
        squeezed = [each for at, each in enumerate(names) if each != names[at - 1] or not at]
        assert squeezed == [
            "turn:started",
            "turn:delta",
            "turn:tool",
            "turn:delta",
            "turn:completed",
        ]
        use = {"id": "c1", "name": "look", "input": {"what": "it"}}
        assert tools_of(guest, turn_id) == [
            {**use, "status": "started"},
            {**use, "status": "finished", "output": "done /look?what=it"},
        ]
        content = told["message"]["content"]
        assert content.startswith("Let me see.\n\nIt said: ")
        assert guest.streamed(turn_id) == content
        context = await guest.ok(
            "turn:context", conversation_id=sent["conversation_id"], turn_id=turn_id
        )
        assert context["context"]["rounds"] == 2
        assert [each["output"] for each in context["context"]["tools"]] == ["done /look?what=it"]
    assert shop.calls == ["/look?what=it"]


async def test_who_comes_in_while_a_tool_runs_is_shown_it_on_any_server(
    pair: tuple[App, App], provider: Provider, shop: Shop
) -> None:
    shop.gate = asyncio.Event()
    provider.respond = once(ToolCall("look", {"what": "it"}, "c1"))
    here, there = pair
    async with Client(here.url) as guest:
        sent = await guest.send("look it up")
        await wait_until(lambda: guest.all("turn:tool"), "the tool begins")
        async with Client(there.url, guest.token) as tab:
            opened = await tab.open(sent["conversation_id"])
            [running] = opened["turns"]
            assert running["text"] == "Let me see."
            assert running["tools"] == [
                {"id": "c1", "name": "look", "status": "started", "input": {"what": "it"}}
            ]
            shop.gate.set()
            told = await tab.completed(sent["turn"]["id"])
            assert [each["status"] for each in tools_of(tab, sent["turn"]["id"])] == ["finished"]
        assert (await guest.completed(sent["turn"]["id"]))["message"] == told["message"]


async def test_several_tools_run_at_once_and_one_that_blocks_holds_nobody_up(
    app: App, provider: Provider, shop: Shop
) -> None:
    shop.gate = asyncio.Event()
    calls = [ToolCall("look_slowly", {"what": str(n)}) for n in range(4)]
    provider.respond = once(*calls, ToolCall("who"))
    async with Client(app.url) as guest:
        sent = await guest.send("who am I?")
        await wait_until(lambda: len(shop.calls) == 4, "all of them run")
        began = time.monotonic()
        await guest.ok("conversation:list")
        assert time.monotonic() - began < 0.5
        shop.gate.set()
        told = await guest.completed(sent["turn"]["id"])
        for part in (sent["conversation_id"], sent["turn"]["id"], "who am I?"):
            assert part in told["message"]["content"]


async def test_a_stop_ends_a_tool_at_once_and_keeps_what_was_said(
    app: App, provider: Provider, shop: Shop
) -> None:
    shop.gate = asyncio.Event()
    provider.respond = once(ToolCall("look", {"what": "it"}), ToolCall("hang"))
    async with Client(app.url) as guest:
        sent = await guest.send("look it up")
        await wait_until(lambda: shop.calls, "the tool runs")
        began = time.monotonic()
        answer = await guest.ok(
            "turn:stop", conversation_id=sent["conversation_id"], turn_id=sent["turn"]["id"]
        )
        assert time.monotonic() - began < 1.0
        assert answer["turn"]["status"] == "stopped"
        await wait_until(lambda: shop.left == 1, "the call is given up")
        [stopped] = await wait_until(lambda: guest.all("turn:stopped"), "it is told")
        assert stopped["message"]["content"] == "Let me see."
        # A thread that hangs holds up neither the next answer nor the server's end.
        provider.respond = lambda body: Script(["next"])
        after = await guest.send("and now?", sent["conversation_id"])
        await guest.completed(after["turn"]["id"])
    assert app.stop(timeout=15) == 0


# A server that dies


async def taken_over(
    pair: tuple[App, App], guest: Client, sent: dict[str, Any]
) -> tuple[Story, dict[str, Any]]:
    """Kill the one that answers; what a reader of the other is told from then on."""
    story = Story(sent["conversation_id"])
    tab = await Client(pair[1].url, guest.token).connect()
    await story.open(tab)
    pair[0].kill()
    told = await story.until(
        lambda told: sent["turn"]["id"] in told.ended, "it is answered", timeout=15
    )
    await tab.close()
    name, ended = told.ended[sent["turn"]["id"]]
    assert name == "turn:completed"
    return story, ended


def uses_told(story: Story, attempt: int) -> list[tuple[str, str]]:
    return [
        (event["tool"]["id"], event["tool"]["status"])
        for name, event in story.events
        if name == "turn:tool" and event["attempt"] == attempt
    ]


async def test_a_tool_that_had_ended_is_not_run_again_by_who_takes_over(
    pair: tuple[App, App], provider: Provider, shop: Shop
) -> None:
    def respond(body: Body) -> Script:
        if body["messages"][-1]["role"] == "user":
            return Script(calls=[ToolCall("pay", {"n": 1}, "p1")])
        return Script(["half ", "never"], gate=asyncio.Event())

    provider.respond = respond
    guest = await Client(pair[0].url).connect()
    sent = await guest.send("pay bill 1")
    await wait_until(lambda: guest.all("turn:delta"), "the second round answers")
    provider.respond = once(ToolCall("pay", {"n": 1}, "p2"))
    story, ended = await taken_over(pair, guest, sent)
    assert shop.calls == ["/pay?n=1"]
    assert "done /pay?n=1" in ended["message"]["content"]
    assert uses_told(story, 2) == [("p1", "finished")]
    await guest.close()


async def test_a_model_that_asks_anew_after_a_takeover_is_given_what_was_done(
    pair: tuple[App, App], provider: Provider, shop: Shop
) -> None:
    """Whatever it is shown, it asks for the same once more."""
    provider.respond = lambda body: (
        Script(calls=[ToolCall("pay", {"n": 1})])
        if body["messages"][-1]["role"] == "user"
        else Script(["half ", "never"], gate=asyncio.Event())
    )
    guest = await Client(pair[0].url).connect()
    sent = await guest.send("pay bill 1")
    await wait_until(lambda: guest.all("turn:delta"), "the second round answers")
    scripts = [Script(calls=[ToolCall("pay", {"n": 1})]), Script(["paid"])]
    provider.respond = lambda body: scripts.pop(0)
    _, ended = await taken_over(pair, guest, sent)
    assert shop.calls == ["/pay?n=1"]
    assert ended["message"]["content"] == "paid"
    await guest.close()


async def test_a_tool_that_must_not_be_repeated_runs_once_though_its_server_dies_meanwhile(
    pair: tuple[App, App], provider: Provider, shop: Shop
) -> None:
    shop.gate = asyncio.Event()
    provider.respond = once(ToolCall("pay", {"n": 1}, "p1"))
    guest = await Client(pair[0].url).connect()
    sent = await guest.send("pay bill 1")
    await wait_until(lambda: shop.calls, "it is being paid")
    story, ended = await taken_over(pair, guest, sent)
    assert shop.calls == ["/pay?n=1"]
    assert "may have taken effect" in ended["message"]["content"]
    assert uses_told(story, 2) == [("p1", "failed")]
    await guest.close()


async def test_a_tool_that_may_be_repeated_is_run_again_where_its_end_is_not_known(
    pair: tuple[App, App], provider: Provider, shop: Shop
) -> None:
    shop.gate = asyncio.Event()
    provider.respond = once(ToolCall("look", {"what": "it"}, "c1"))
    guest = await Client(pair[0].url).connect()
    sent = await guest.send("look it up")
    await wait_until(lambda: shop.calls, "it is looked up")
    gate, shop.gate = shop.gate, None
    story, ended = await taken_over(pair, guest, sent)
    gate.set()
    assert shop.calls == ["/look?what=it"] * 2
    assert "done /look?what=it" in ended["message"]["content"]
    assert uses_told(story, 2) == [("c1", "started"), ("c1", "finished")]
    await guest.close()


async def test_tools_are_used_while_mongodb_is_away_and_kept_with_what_was_said(
    start_app: StartApp,
    settings: dict[str, str],
    with_tools: dict[str, str],
    own_mongod: Mongod,
    provider: Provider,
    shop: Shop,
) -> None:
    app = start_app(**settings, **with_tools)
    async with Client(app.url) as guest:
        first = await guest.send("hello")
        await guest.completed(first["turn"]["id"])
        own_mongod.kill()
        provider.respond = once(ToolCall("pay", {"n": 1}))
        sent = await guest.send("pay bill 1", first["conversation_id"])
        told = await guest.completed(sent["turn"]["id"])
        assert sent["durability"] == "spooled"
        assert "done /pay?n=1" in told["message"]["content"]
        own_mongod.start()
        await wait_until(lambda: len(guest.all("message:stored")) >= 2, "it is stored", timeout=20)
    assert shop.calls == ["/pay?n=1"]


# The example


async def test_the_example_converts_and_keeps_notes_that_the_user_asks_for(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider, TOOLS="examples.tools:tools"))
    calls = [
        ToolCall("convert", {"amount": 3, "unit": "mi", "to": "km"}),
        ToolCall("convert", {"amount": 3, "unit": "parsec", "to": "km"}),
        ToolCall("add_note", {"text": "milk"}),
    ]
    provider.respond = once(*calls)
    async with Client(app.url) as guest, Client(app.url) as stranger:
        told = await guest.ask("3 miles in km? And note: milk")
        said = told["message"]["content"]
        for part in ("4.82803 km", "It failed: unknown units: parsec", "kept"):
            assert part in said
        provider.respond = once(ToolCall("read_notes"))
        assert "milk" in (await guest.ask("my notes?"))["message"]["content"]
        assert "none" in (await stranger.ask("my notes?"))["message"]["content"]
        # What the user did not ask for is not noted: the model's second look says no.
        provider.respond = lambda body: (
            Script(["no"]) if is_guard(body) else once(ToolCall("add_note", {"text": "x"}))(body)
        )
        again = await guest.ask("thanks", told["conversation_id"])
        assert "does not ask for that" in again["message"]["content"]
    assert 'mnemosio_tool_uses_total{name="convert",status="failed"} 1' in await metrics(app)


async def metrics(app: App) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{app.url}/metrics") as answer:
        return await answer.text()


# How it starts


@pytest.mark.parametrize(
    ("tools", "line"),
    [
        ("tests.support.nowhere:tools", "ModuleNotFoundError"),
        ("tests.support.toolbox:nothing", "tests.support.toolbox has no nothing"),
        ("tests.support.toolbox:Shop", "it is to be a list of tools"),
        ("tests.support.odd_tools:no_docstring", "must have a docstring"),
        ("tests.support.odd_tools:twice", "two tools of the name look; rename one"),
        ("tests.support.odd_tools:no_tool", "a function, or a tool of LangChain's"),
        ("tests.support.odd_tools:odd_time", "its timeout is to be"),
        ("just a name", "it must be module:list, such as myproject.tools:tools"),
    ],
)
async def test_tools_that_cant_be_used_end_the_start_with_one_line(
    start_app: StartApp, provider: Provider, tools: str, line: str
) -> None:
    with pytest.raises(AssertionError) as ended:
        start_app(**with_provider(provider, TOOLS=tools))
    [said] = [each for each in str(ended.value).splitlines() if "TOOLS" in each]
    assert line in said
    assert "Traceback" not in str(ended.value)
