"""Every Redis key of the memory, and how long each lives.

| key | type | holds | lives |
| --- | --- | --- | --- |
| ``conversation:messages:{id}`` | list | the latest messages, ascending (see ``entries``) | TTL |
| ``conversation:summary:{id}`` | string | revision and rolling summary, JSON | TTL |
| ``conversation:turns:{id}`` | string | how many answers there are, a plain integer | TTL |
| ``conversation:loading:{id}`` | string | lease: who loads it from the permanent store | 3 s |
| ``conversation:summarising:{id}`` | string | lease: who summarises it | 120 s |
| ``memory:probe:{random}`` | string | probe of a recovery, deleted at once | 1 s |

TTL is the memory's ``ttl_hours``, the same on all three keys, refreshed by every read and write.
Behind a permanent store the three are complete or absent, never partial; where Redis is the only
copy, the list is missing while there is no message.

The names carry no hash tag, as the guide they come from fixed them, so one script can't touch all
three on Redis Cluster; braces around the id, on a cluster only, are a later step.
"""

from __future__ import annotations

from typing import NamedTuple

LOADING_MS = 3_000
"""Longer than any healthy load; short, because a dead loader's successors wait for it."""
SUMMARISING_MS = 120_000
"""Longer than a model takes for a summary; the version condition guards against the rest."""


class ConversationKeys(NamedTuple):
    """A conversation's keys, in the order in which the scripts take them."""

    messages: bytes
    summary: bytes
    turns: bytes
    loading: bytes
    summarising: bytes


def conversation_keys(conversation_id: str) -> ConversationKeys:
    # surrogatepass: an id is any string, also one that is no valid UTF-8.
    name = conversation_id.encode("utf-8", "surrogatepass")
    return ConversationKeys(
        b"conversation:messages:" + name,
        b"conversation:summary:" + name,
        b"conversation:turns:" + name,
        b"conversation:loading:" + name,
        b"conversation:summarising:" + name,
    )


EVERY_CONVERSATION = (
    b"conversation:messages:*",
    b"conversation:summary:*",
    b"conversation:turns:*",
)
