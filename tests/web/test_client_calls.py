"""What the client of web/client asks of the real server besides messages and their answers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.facts import reading
from tests.support.provider import Body, Provider, Script, ToolCall
from tests.support.way import Way
from tests.web.conftest import OpenTab
from tests.web.pictures import png


async def test_feedback_is_seen_in_every_tab_and_kept(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    one = await open_tab(app.url)
    conversation_id = await one.show()
    await one.ask("Judge this.")
    two = await open_tab(app.url)
    await two.show(conversation_id)
    await two.until("last?.status === 'complete'")
    await one.run(
        "const { id } = chat().state.get().messages.at(-1); await chat().feedback(id, -1, 'No.')"
    )
    said = {"value": -1, "comment": "No."}
    assert (await one.messages())[-1]["feedback"] == said
    await two.until("last.feedback?.value === -1")
    three = await open_tab(app.url)
    await three.show(conversation_id)
    await three.until("last?.feedback !== undefined")
    assert (await three.messages())[-1]["feedback"] == said
    await two.run("await chat().feedback(chat().state.get().messages.at(-1).id, 0)")
    for tab in (one, two, three):
        await tab.until("last.feedback === undefined")


async def test_what_the_model_was_given_is_told(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    tab = await open_tab(start_app(**with_provider(provider)).url)
    await tab.show()
    await tab.ask("Hello!")
    context = await tab.run(
        "return await chat().context(chat().state.get().messages.at(-1).turnId)"
    )
    assert context["model"] == "test-model"
    assert context["tokens"]["total"] > 0


async def test_a_conversation_has_its_own_model_before_it_begins_and_after(
    start_app: StartApp, provider: Provider, open_tab: OpenTab, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.toml"
    prompts.write_text('pirate = "Speak like a pirate."\n')
    settings = {"MODELS": "larger", "SYSTEM_PROMPTS": str(prompts)}
    app = start_app(**with_provider(provider), **settings)
    tab = await open_tab(app.url)
    await tab.until("connection.status === 'connected'")
    names = "const { models, systemPrompts } = client.connection.get(); return"
    assert await tab.run(f"{names} [models, systemPrompts]") == [
        ["test-model", "larger"],
        ["pirate"],
    ]
    conversation_id = await tab.show()
    await tab.run("await chat().configure({ model: 'larger' })")
    await tab.ask("Hello!")
    assert provider.chats[-1].body["model"] == "larger"
    other = await open_tab(app.url)
    await other.show(conversation_id)
    await other.until("state?.choice.model === 'larger' && state.status === 'ready'")
    await other.run("await chat().configure({ model: null, systemPrompt: 'pirate' })")
    await tab.until("state.choice.model === null && state.choice.systemPrompt === 'pirate'")
    await tab.ask("And now?")
    assert provider.chats[-1].body["model"] == "test-model"
    assert "Speak like a pirate." in provider.chats[-1].texts[0]
    await tab.until("list.items[0]?.systemPrompt === 'pirate'")


TOOLS = """
def look_up(word: str) -> str:
    "Look a word up."
    return f"{word} is a word."

tools = [look_up]
"""


async def test_tools_are_told_where_they_were_used(
    start_app: StartApp, provider: Provider, open_tab: OpenTab, tmp_path: Path
) -> None:
    def respond(body: Body) -> Script:
        if any(message["role"] == "tool" for message in body["messages"]):
            return Script(["A word."])
        return Script(["So. "], calls=[ToolCall("look_up", {"word": "ylang"})])

    provider.respond = respond
    (tmp_path / "client_tools.py").write_text(TOOLS)
    app = start_app(**with_provider(provider), TOOLS="client_tools:tools")
    tab = await open_tab(app.url)
    await tab.show()
    await tab.ask("What is ylang?")
    answer = (await tab.messages())[-1]
    assert answer["content"].split() == ["So.", "A", "word."]
    [use] = answer["tools"]
    assert (use["name"], use["status"]) == ("look_up", "finished")
    assert answer["content"][: use["at"]].strip() == "So."
    assert (use["input"], use["output"]) == ({"word": "ylang"}, "ylang is a word.")


async def test_messages_are_searched_and_found_far_back(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider), MEMORY_MAX_MESSAGES="4")
    tab = await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.ask("The word is ylang.")
    for number in range(4):
        await tab.ask(f"Question {number}.")
    other = await open_tab(app.url)
    found = await other.run("return await client.search('ylang', { limit: 1 })")
    [result] = found
    assert result["conversation"]["id"] == conversation_id
    assert "ylang" in result["snippet"]
    message_id = result["message"]["id"]
    assert await other.run("return (await client.search('zebra')).length") == 0
    await other.show(conversation_id)
    await other.until("state?.status === 'ready'")
    assert message_id not in [each["id"] for each in await other.messages()]
    assert await other.run(f"return await chat().find({message_id!r})") is True
    assert message_id in [each["id"] for each in await other.messages()]
    assert await other.run("return await chat().find('nowhere')") is False


async def test_facts_are_listed_corrected_and_deleted_live(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    provider.respond = reading({"Bern": "Lives in Bern."})
    app = start_app(**with_provider(provider), USER_MEMORY="true")
    tab, other = await open_tab(app.url), await open_tab(app.url)
    await tab.run("client.facts.open()")
    await other.run("client.facts.open()")
    await tab.show()
    await tab.ask("I live in Bern.")
    texts = "client.facts.state.get().items.map(({ text }) => text).join()"
    for each in (tab, other):
        await each.run(f"await wait(() => {texts} === 'Lives in Bern.')")
    assert await tab.get("client.connection.get().remembersFacts") is True
    first = "client.facts.state.get().items[0]"
    await tab.run(f"await client.facts.correct({first}.id, 'Lives in Basel.')")
    await other.run(f"await wait(() => {first}.edited && {texts} === 'Lives in Basel.')")
    await other.run(f"await client.facts.remove({first}.id)")
    await tab.run(f"await wait(() => {texts} === '')")


async def test_a_conversation_is_exported_imported_and_all_is_deleted(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    provider.respond = lambda body: Script(["A long answer. " * 10_000])
    app = start_app(**with_provider(provider))
    tab = await open_tab(app.url)
    conversation_id = await tab.show()
    await tab.ask("Tell me.")
    file = await tab.run(f"return await client.export({conversation_id!r}, 'json')")
    document = json.loads(file["content"])
    assert [len(each["content"]) for each in document["messages"]] == [8, 150_000]
    assert file["mediaType"].startswith("application/json")
    markdown = await tab.run(f"return await client.export({conversation_id!r}, 'markdown')")
    assert "Tell me." in markdown["content"]

    other = await open_tab(app.url, "another browser")
    await other.until("connection.status === 'connected'")
    document["messages"] = [
        {**message, "seq": seq} for seq, message in enumerate(document["messages"] * 8, start=1)
    ]
    imported, shares = await other.run(
        f"const shares = []; const document = {json.dumps(document)};"
        "return [await client.import(document, (share) => shares.push(share)), shares]"
    )
    assert len(shares) > 1
    assert shares[-1] == 1
    await other.show(imported)
    await other.until("state?.messages.length === 16")
    usage = await tab.run("return await client.usage()")
    assert usage["turns"] == 1
    assert usage["days"][0]["totalTokens"] == usage["totalTokens"] > 0
    assert usage["budget"] is None
    await other.run("await client.deleteEverything()")
    await other.until("state.status === 'missing' && list.items.length === 0")
    await tab.until("list.items.length === 1")


async def test_images_are_sent_and_had_back_and_wait_for_a_connection_over_a_reload(
    start_app: StartApp, provider: Provider, open_tab: OpenTab
) -> None:
    app = start_app(**with_provider(provider))
    provider.respond = lambda body: Script(["Green."])
    data = base64.b64encode(png(8, 8)).decode()
    image = f"{{ mediaType: 'image/png', data: Uint8Array.from(Buffer.from('{data}', 'base64')) }}"
    async with Way(app.port) as way:
        tab = await open_tab(way.url)
        conversation_id = await tab.show()
        await tab.ask("Hello")
        way.open = False
        await way.cut()
        await tab.run(f"chat().send('What is this?', {{ attachments: [{image}, {image}] }})")
        await tab.until("last.status === 'sending' && last.attachments.length === 2")
        await tab.close()
        way.open = True
        tab = await open_tab(way.url)
        await tab.show(conversation_id)
        await tab.until("state?.messages.length === 4 && last.status === 'complete'")
        assert [each["type"] for each in provider.chats[-1].messages[-1]["content"]] == [
            *("text", "image_url", "image_url")
        ]
        kept = await tab.run(
            "const { attachments } = chat().state.get().messages[2];"
            "const image = await chat().attachment(attachments[1].id);"
            "return [image.type, Buffer.from(await image.arrayBuffer()).toString('base64')]"
        )
        assert kept == ["image/png", data]
