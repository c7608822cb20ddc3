"""What the client of web/client asks of the real server besides messages and their answers."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.provider import Provider
from tests.web.conftest import OpenTab


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
