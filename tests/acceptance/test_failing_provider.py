"""What becomes of a turn when the model's provider fails."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.provider import Provider, Script


@pytest.mark.parametrize(
    ("script", "code", "partial"),
    [
        (Script(status=401), "invalid", None),
        (Script(["some ", "text ", "lost"], cut_after=2), "unavailable", "some text "),
        (Script(["some "], silent_after=1), "unavailable", "some "),
        (Script(["no "], finish_reason=None), "unavailable", "no "),
    ],
    ids=["refused", "cut in the middle", "silent", "ended without saying so"],
)
async def test_a_failing_provider_ends_the_turn_with_a_clear_error_and_the_partial_text(
    start_app: StartApp, provider: Provider, script: Script, code: str, partial: str | None
) -> None:
    provider.respond = lambda body: script
    app = start_app(**with_provider(provider, TURN_IDLE_TIMEOUT_SECONDS="1"))
    async with Client(app.url) as guest:
        sent = await guest.send("try")
        name, failed = await guest.ended(sent["turn"]["id"])
        assert name == "turn:failed"
        assert failed["error"]["code"] == code
        assert "Traceback" not in failed["error"]["message"]
        if partial is None:
            assert failed["message"] is None
        else:
            assert failed["message"]["content"] == partial
            assert failed["message"]["status"] == "interrupted"
        provider.respond = lambda body: Script(["better now"])
        again = await guest.ask("and now?", sent["conversation_id"])
        assert again["message"]["content"] == "better now"


async def test_a_provider_that_is_busy_at_first_is_asked_again(
    start_app: StartApp, provider: Provider
) -> None:
    scripts = [Script(status=429, retry_after="0"), Script(status=500), Script(["at last"])]
    provider.respond = lambda body: scripts.pop(0)
    app = start_app(**with_provider(provider))
    async with Client(app.url) as guest:
        completed = await guest.ask("patience")
        assert completed["message"]["content"] == "at last"
        assert len(provider.requests) == 3
