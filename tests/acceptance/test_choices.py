"""Conversations whose owner has chosen a model and a system prompt, from the operator's lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.outages import told_stored
from tests.support.app import App
from tests.support.client import Client, new_id
from tests.support.mongod import Mongod
from tests.support.provider import Provider, Script
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

TEXTS = {"pirate": "Talk like a pirate.", "short": "Use few words."}
CHOSEN = {"model": "larger", "system_prompt": "pirate"}


@pytest.fixture
def offers(tmp_path: Path) -> dict[str, str]:
    prompts = tmp_path / "prompts.toml"
    prompts.write_text("".join(f'{name} = "{text}"\n' for name, text in TEXTS.items()))
    return {"MODELS": "larger,smaller", "SYSTEM_PROMPTS": str(prompts)}


@pytest.fixture
def two(start_app: StartApp, shared: dict[str, str], offers: dict[str, str]) -> tuple[App, App]:
    return start_app(**shared, **offers), start_app(**shared, **offers)


@pytest.fixture(params=["embedded", "mongo"])
def start_one(
    request: pytest.FixtureRequest,
    start_app: StartApp,
    provider: Provider,
    offers: dict[str, str],
    tmp_path: Path,
) -> Callable[..., App]:
    """A server on either store; each time with the same data."""
    if request.param == "mongo":
        kept = request.getfixturevalue("shared")
    else:
        kept = with_provider(provider)

    def start(**settings: str) -> App:
        data_dir = tmp_path / "data" if request.param == "embedded" else None
        return start_app(data_dir, **{**kept, **offers, **settings})

    return start


def last_asked(provider: Provider) -> tuple[str, str]:
    """The model, and what it was told first."""
    request = provider.chats[-1]
    return request.body["model"], request.texts[0]


async def told(client: Client, conversation: dict[str, Any]) -> None:
    updated = {"conversation": conversation}
    await wait_until(lambda: updated in client.all("conversation:updated"), "the change is told")


def chosen_in(conversation: dict[str, Any]) -> dict[str, Any]:
    return {name: conversation[name] for name in CHOSEN}


async def test_a_conversation_is_answered_as_its_owner_chose(
    start_one: Callable[..., App], provider: Provider
) -> None:
    async with Client(start_one().url) as guest:
        server = guest.session["server"]
        assert server["models"] == ["test-model", "larger", "smaller"]
        assert server["system_prompts"] == ["pirate", "short"]
        assert "Talk like" not in str(guest.events)
        call = {"conversation_id": new_id(), **CHOSEN}
        made = (await guest.ok("conversation:create", **call))["conversation"]
        assert chosen_in(made) == CHOSEN
        assert (await guest.ok("conversation:create", **call))["conversation"] == made
        refused = await guest.refusal("conversation:create", **call | {"model": "smaller"})
        assert refused["code"] == "conflict"
        conversation_id = made["id"]
        await guest.ask("one", conversation_id)
        assert last_asked(provider) == ("larger", "Talk like a pirate.")

        async def closed() -> dict[str, Any] | None:
            conversation = (await guest.open(conversation_id))["conversation"]
            return conversation if conversation["message_count"] == 2 else None

        before = await wait_until(closed, "the turn is closed")
        configured = await guest.ok(
            "conversation:configure", conversation_id=conversation_id, model="smaller"
        )
        after = configured["conversation"]
        assert after == before | {"model": "smaller"}
        await told(guest, after)
        await guest.ask("two", conversation_id)
        assert last_asked(provider) == ("smaller", "Talk like a pirate.")

        default = {"model": "", "system_prompt": ""}
        await guest.ok("conversation:configure", conversation_id=conversation_id, **default)
        [listed] = (await guest.ok("conversation:list"))["conversations"]
        assert chosen_in(listed) == {"model": None, "system_prompt": None}
        await guest.ask("three", conversation_id)
        model, told_first = last_asked(provider)
        assert model == "test-model"
        assert "pirate" not in told_first


async def test_only_what_the_operator_offers_is_chosen_and_only_by_the_owner(
    two: tuple[App, App],
) -> None:
    async with Client(two[0].url) as guest, Client(two[1].url) as stranger:
        conversation_id = (await guest.ok("conversation:create"))["conversation"]["id"]
        for name in ("conversation:create", "conversation:configure"):
            for field, value in (
                ("model", "gpt-99"),
                ("model", " larger"),
                ("system_prompt", "Talk like a pirate."),
                ("system_prompt", "__class__"),
            ):
                about = {"conversation_id": conversation_id, field: value}
                refused = await guest.refusal(name, **about)
                assert (refused["code"], refused["field"]) == ("invalid", field)
        about = {"conversation_id": conversation_id, "model": "larger"}
        refused = await stranger.refusal("conversation:configure", **about)
        nothing = await stranger.refusal(
            "conversation:configure", conversation_id=new_id(), model="larger"
        )
        assert refused == nothing
        assert refused["code"] == "not_found"


async def test_a_change_on_another_server_holds_for_the_next_message_and_is_told_to_all_tabs(
    two: tuple[App, App], provider: Provider
) -> None:
    here, there = two
    async with Client(here.url) as guest, Client(there.url, guest.token) as tab:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        for model in ("larger", "smaller", ""):
            about = {"conversation_id": conversation_id, "model": model}
            changed = await tab.ok("conversation:configure", **about)
            for each in (guest, tab):
                await told(each, changed["conversation"])
            # Which has answered the messages before, and keeps the conversation in mind.
            await guest.ask("again", conversation_id)
            assert last_asked(provider)[0] == (model or "test-model")


async def test_a_takeover_answers_by_the_choice_the_message_was_accepted_with(
    start_app: StartApp, shared: dict[str, str], offers: dict[str, str], provider: Provider
) -> None:
    provider.respond = lambda body: Script(["half ", "never"], gate=asyncio.Event())
    first, second = start_app(**shared, **offers), start_app(**shared, **offers)
    guest = await Client(first.url).connect()
    about = {"conversation_id": new_id(), **CHOSEN}
    await guest.ok("conversation:create", **about)
    sent = await guest.send("one", about["conversation_id"])
    await wait_until(lambda: guest.all("turn:delta"), "the answer begins")
    provider.respond = lambda body: Script(["whole"])
    async with Client(second.url, guest.token) as tab:
        await tab.open(about["conversation_id"])
        await tab.ok("conversation:configure", **about | {"model": "smaller"})
        first.kill()
        await tab.completed(sent["turn"]["id"])
        assert last_asked(provider) == ("larger", "Talk like a pirate.")
        # To answer again is to answer as it would be answered now.
        new_turn_id = new_id()
        await tab.ok(
            "turn:regenerate",
            conversation_id=about["conversation_id"],
            turn_id=sent["turn"]["id"],
            new_turn_id=new_turn_id,
        )
        await tab.completed(new_turn_id)
        assert last_asked(provider) == ("smaller", "Talk like a pirate.")


async def test_the_choice_holds_while_the_store_is_away(
    start_app: StartApp,
    provider: Provider,
    redis_server: RedisServer,
    own_mongod: Mongod,
    offers: dict[str, str],
) -> None:
    settings = with_provider(provider, REDIS_URL=redis_server.url, MONGODB_URI=own_mongod.uri)
    app = start_app(**settings, **offers)
    async with Client(app.url) as guest:
        known = {"conversation_id": new_id(), **CHOSEN}
        await guest.ok("conversation:create", **known)
        await guest.ask("one", known["conversation_id"])
        own_mongod.kill()
        sent = await guest.send("two", known["conversation_id"])
        await guest.completed(sent["turn"]["id"])
        assert last_asked(provider) == ("larger", "Talk like a pirate.")
        refused = await guest.refusal("conversation:configure", **known | {"model": "smaller"})
        assert (refused["code"], refused["retryable"]) == ("unavailable", True)
        begun = {"conversation_id": new_id(), "model": "smaller"}
        made = await guest.ok("conversation:create", **begun)
        assert made["conversation"]["model"] == "smaller"
        spooled = await guest.send("three", begun["conversation_id"])
        await guest.completed(spooled["turn"]["id"])
        assert last_asked(provider)[0] == "smaller"
        own_mongod.start()
        await told_stored(guest, [sent["message"]["id"], spooled["message"]["id"]])
        for about, model in ((known, "larger"), (begun, "smaller")):
            found = await guest.open(about["conversation_id"])
            assert found["conversation"]["model"] == model
            await guest.ask("four", about["conversation_id"])
            assert last_asked(provider)[0] == model


async def test_what_the_operator_has_taken_off_the_list_is_the_default(
    start_one: Callable[..., App], provider: Provider
) -> None:
    app = start_one()
    async with Client(app.url) as guest:
        about = {"conversation_id": new_id(), **CHOSEN}
        await guest.ok("conversation:create", **about)
    app.kill()
    later = start_one(MODELS="", SYSTEM_PROMPTS="", GUEST_SECRET="")
    async with Client(later.url, guest.token) as tab:
        assert tab.session["server"]["models"] == []
        await tab.ask("one", about["conversation_id"])
        assert last_asked(provider)[0] == "test-model"
        assert "pirate" not in last_asked(provider)[1]
    assert "is not offered any more" in later.output
    assert "Talk like a pirate" not in later.output
