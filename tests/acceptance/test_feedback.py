"""``message:feedback``, over the wire: given on one server, seen on all."""

from __future__ import annotations

from tests.acceptance.conftest import StartApp, with_provider
from tests.acceptance.test_observed import measures
from tests.support.app import App
from tests.support.client import Client
from tests.support.provider import Provider
from tests.support.wait import wait_until


async def test_feedback_is_seen_in_every_tab_and_wherever_the_message_is_read(
    two: tuple[App, App],
) -> None:
    here, there = two
    async with Client(here.url) as mine, Client(there.url, mine.token) as elsewhere:
        ended = await mine.ask("what is the answer?")
        conversation_id, answer = ended["conversation_id"], ended["message"]
        await elsewhere.open(conversation_id)  # it is in memory now, without feedback
        where = {"conversation_id": conversation_id, "message_id": answer["id"]}
        given = await mine.ok("message:feedback", **where, value=-1, comment="Too short.")
        feedback = {"value": -1, "comment": "Too short."}
        assert given["message"] == {**answer, "feedback": feedback}
        for tab in (mine, elsewhere):
            assert await tab.next_event("message:feedback") == {**where, "feedback": feedback}
        opened = await elsewhere.open(conversation_id)
        for messages in (opened["messages"], await elsewhere.transcript(conversation_id)):
            assert [message.get("feedback") for message in messages] == [None, feedback]
            assert "feedback" not in messages[0]

        # The same again changes nothing; another one counts instead; 0 takes it away.
        assert await mine.ok("message:feedback", **where, value=-1, comment="Too short.") == given
        again = await elsewhere.ok("message:feedback", **where, value=1)
        assert again["message"]["feedback"] == {"value": 1}
        assert (await mine.open(conversation_id))["messages"][1]["feedback"] == {"value": 1}
        gone = await mine.ok("message:feedback", **where, value=0, comment="Never mind.")
        assert gone["message"] == answer
        assert (await elsewhere.open(conversation_id))["messages"][1] == answer
        assert await wait_until(
            lambda: [told["feedback"] for told in elsewhere.all("message:feedback")][-1:] == [None],
            "the other tab hears that it is gone",
        )
    counted = await measures(here)
    values = [counted[f'mnemosio_feedback_total{{value="{value}"}}'] for value in (1, 0, -1)]
    assert values == [0, 1, 2]


async def test_what_is_no_answer_of_the_users_takes_no_feedback(
    start_app: StartApp, provider: Provider
) -> None:
    app = start_app(**with_provider(provider))
    async with Client(app.url) as mine, Client(app.url) as stranger:
        first = await mine.ask("one")
        conversation_id = first["conversation_id"]
        question, answer = await mine.transcript(conversation_id)
        where = {"conversation_id": conversation_id, "message_id": answer["id"], "value": 1}
        theirs = await stranger.refusal("message:feedback", **where)
        nobodys = await stranger.refusal("message:feedback", **where | {"conversation_id": "x"})
        assert theirs == nobodys
        assert theirs["code"] == "not_found"
        for message_id in (question["id"], "x", first["turn_id"]):
            refused = await mine.refusal("message:feedback", **where | {"message_id": message_id})
            assert (refused["code"], refused["field"]) == ("not_found", "message_id")
        await mine.ok(
            "turn:regenerate",
            conversation_id=conversation_id,
            turn_id=first["turn_id"],
            new_turn_id="again",
        )
        await mine.completed("again")
        refused = await mine.refusal("message:feedback", **where)
        assert refused["code"] == "not_found"
        assert mine.all("message:feedback") == []
