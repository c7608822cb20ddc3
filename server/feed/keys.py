"""Every Redis key and channel of the feed, and how long each lives.

| key | type | holds | lives |
| --- | --- | --- | --- |
| ``feed:log:{id}`` | stream | the conversation's events, each with the log's state after it | 1 h |
| ``feed:begin:{id}`` | string | lease: who begins the log | 3 s |
| ``feed:probe:{random}`` | string | probe of a recovery, deleted at once | 1 s |

| channel | carries |
| --- | --- |
| ``feed:events:{id}`` | each entry of the log as it is appended, to servers that follow it |
| ``feed:beat:{server}`` | a server's own heartbeat, by which it knows that it hears |
| ``feed:signals`` | what servers tell each other (``server/signals.py``) |

An entry's id is ``epoch-number``, which is also the cursor. Its fields: ``v`` the form's version,
``r`` the rule by which it was taken, ``e`` the event's name, ``b`` the event's JSON without its
first brace, ``s`` the state, and now and then ``x`` and ``t``: all that the running answer has said
by then, and the tools that it has used, as JSON.
One key holds all of it, so that it is there whole or not at all; the braces keep a conversation's
key, lease and channel together on a cluster.
"""

from __future__ import annotations

from typing import NamedTuple

LOG_SECONDS = 3_600
"""Refreshed by every event, and when a server takes the log up; who comes back later gets a
snapshot."""
BEGIN_MS = 3_000
"""Longer than any healthy reading of the store; short, because others wait for a dead beginner."""

MAX_EVENTS = 4_096
MAX_BYTES = 2_000_000
"""What a reader may have missed and still be given as events; beyond it, a snapshot."""

SIGNALS = b"feed:signals"
EVERY_LOG = b"feed:log:*"


class FeedKeys(NamedTuple):
    log: bytes
    begin: bytes


def feed_keys(conversation_id: str) -> FeedKeys:
    name = _tagged(conversation_id)
    return FeedKeys(b"feed:log:" + name, b"feed:begin:" + name)


def events_channel(conversation_id: str) -> bytes:
    return b"feed:events:" + _tagged(conversation_id)


def beat_channel(server: str) -> bytes:
    return b"feed:beat:" + server.encode()


def _tagged(conversation_id: str) -> bytes:
    # surrogatepass: an id is any string, also one that is no valid UTF-8.
    return b"{" + conversation_id.encode("utf-8", "surrogatepass") + b"}"
