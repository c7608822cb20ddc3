"""What a run leaves behind: of each conversation all that is kept of it, and the counts."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import redis

from memory import RedisConversationMemory, entries
from memory.keys import conversation_keys
from memory.records import Message, Turn, answer_of, question_of
from mongo.documents import turn_record
from mongo.store import MongoStore
from server.feed.keys import feed_keys
from server.shapes import message_shape
from tests.chaos.checker import ENDED
from tests.chaos.evidence import Evidence, Hot, Kept, KeptTurn, Shape
from tests.chaos.hot import LATEST, condition, has_old_summary
from tests.chaos.user import User
from tests.chaos.world import DATABASE, World
from tests.support.wait import wait_until


async def gather(
    world: World,
    store: MongoStore,
    memory: RedisConversationMemory,
    user: User,
    conversation_id: str,
) -> Kept:
    """Raises ``NotFound``."""
    found = look(world.redis.port, conversation_id)
    turns = _all_turns(world, conversation_id)
    user_id = turns[0].user_id if turns else ""
    standing = await store.load(conversation_id, 1)
    position = standing.position
    kept = Kept(
        id=conversation_id,
        turns=[_kept_turn(turn) for turn in turns],
        count=(await store.conversations.get(conversation_id, user_id)).message_count,
        history=await _history(user, conversation_id),
        remembered=[],
        counted=None,
        notes=standing.summary.text if standing.summary else "",
        found=found,
    )
    right = [message["id"] for message in kept.messages][-LATEST:]
    shown: list[Message] = []

    async def agrees() -> bool:
        """A server that saw an outage may still be deleting what it could not bring up to date."""
        nonlocal shown
        transcript = await memory.read(conversation_id, at_least=position)
        shown = transcript.messages
        kept.remembered_notes = transcript.summary.text if transcript.summary else ""
        kept.hot = look(world.redis.port, conversation_id)
        kept.counted = kept.hot.counted
        return [message.id for message in shown] == right and kept.counted == position.answers

    with suppress(AssertionError):  # the checker says what differs
        await wait_until(agrees, "the memory agrees", timeout=10, interval=0.2)
    kept.remembered = [message_shape(conversation_id, message) for message in shown]
    return kept


def look(port: int, conversation_id: str) -> Hot:
    """What Redis has of it at one moment."""
    keys = conversation_keys(conversation_id)
    with redis.Redis(port=port) as client, client.pipeline(transaction=True) as pipeline:
        pipeline.lrange(keys.messages, 0, -1).get(keys.summary).get(keys.turns)
        try:
            messages, summary, counted = pipeline.execute()
        except redis.ResponseError as error:  # of another type
            return Hot(unreadable=str(error))
    hot = Hot()
    try:
        if messages:  # an empty list is no key
            known = entries.decode_messages(messages)
            hot.messages = [message_shape(conversation_id, message) for message in known]
        if summary is not None:
            notes, hot.revision = entries.decode_summary(summary)
            hot.notes = notes.text if notes else ""
        hot.counted = None if counted is None else entries.decode_turns(counted)
    except entries.Poison as poison:
        hot.unreadable = f"{poison}: {[*messages[-1:], summary, counted]}"
    return hot


def shared_logs(world: World, people: list[User]) -> dict[str, str]:
    """The last cursors. A log that Redis has lost is missed by nobody before it is written to, or
    asked for by a server that never had it."""
    found = {}
    with redis.Redis(port=world.redis.port, decode_responses=True) as client:
        for conversation_id in [each for user in people for each in user.conversations]:
            for cursor, _ in client.xrevrange(feed_keys(conversation_id).log, count=1):
                found[conversation_id] = cursor
    return found


def _all_turns(world: World, conversation_id: str) -> list[Turn]:
    """Also those that were superseded, which nobody is shown any more."""
    with world.mongod.client() as client:
        found = client[DATABASE]["turns"].find({"conversation": conversation_id}).sort("n")
        return [turn_record(document) for document in found]


def _kept_turn(turn: Turn) -> KeptTurn:
    answer = answer_of(turn)
    return KeptTurn(
        id=turn.id,
        n=turn.n,
        place=turn.place,
        status=turn.status,
        open=turn.open,
        attempt=turn.attempt,
        question=message_shape(turn.conversation_id, question_of(turn)),
        answer=None if answer is None else message_shape(turn.conversation_id, answer),
        revision=turn.revision,
        rewrites=turn.rewrites,
        asks=turn.question.key is None,
        superseded=turn.superseded,
        error=turn.error.code if turn.error else None,
    )


async def _history(user: User, conversation_id: str) -> list[Shape]:
    found: list[Shape] = []
    fields = {"conversation_id": conversation_id, "limit": 200}
    while True:
        page, _, _ = await user.first.call("conversation:history", **fields)
        found = page["messages"] + found
        if not page["has_more"]:
            return found
        fields["before"] = found[0]["seq"]


def count(evidence: Evidence, people: list[User]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for send in evidence.sends:
        counts["acknowledged"] += bool(send.answer)
        counts["spooled"] += send.is_spooled
        if send.call != "message:send":
            counts[f"{send.call} {'refused' if send.refused else 'done'}"] += 1
    for stop in evidence.stops:
        counts["stops of what still runs elsewhere"] += stop["status"] not in ENDED
    counts["prompts"] = len(evidence.prompts)
    for user in people:
        for tab in user.tabs:
            counts["retries"] += tab.retries
            counts += tab.verdicts
            counts["connections"] += len({seen.connection for seen in tab.seen})
            counts["events"] += len(tab.seen)
            for seen in tab.seen:
                if "recovery" in seen.payload:
                    counts[str(seen.payload["recovery"])] += 1
                counts["snapshots on the way"] += seen.name == "conversation:snapshot"
                counts["numbers told later"] += seen.name == "message:stored"
    for kept in evidence.kept:
        counts[f"{condition(kept)} in Redis"] += 1
        counts["older summary in Redis"] += has_old_summary(kept, kept.hot)
        for turn in kept.turns:
            counts[turn.status if turn.error is None else f"failed as {turn.error}"] += 1
            counts["taken over"] += turn.attempt > 1
            counts["superseded"] += turn.superseded
    return counts
