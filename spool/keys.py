"""Every Redis key of the spool, and how long each lives.

| key | type | holds | lives |
| --- | --- | --- | --- |
| ``spool:card:{id}`` | hash | whose a conversation is, its last turn, its open turns | 24 h |
| ``spool:lease:{id}`` | string | the server with which it lodges, and from which place on | 30 s |
| ``spool:active`` | string | there are leases | 30 s |
| ``spool:servers`` | sorted set | the servers that are there, by when they were last seen | 60 s |

A card's fields: ``about`` the conversation, ``last`` the number of its last closed turn, and
``w:{number}`` the id of a turn that was accepted to wait, of the latest ones; ``g:{number}`` that
of one that an edit or a regenerate took out of it, likewise; ``t:{number}`` each turn that is open,
and the last closed one without its texts, JSON all; and ``made`` while the permanent store does not
know the conversation.
"""

from __future__ import annotations

CARD_MS = 24 * 3_600_000
"""As long as memory keeps a conversation hot: without its messages a card is of no use."""
LEASE_MS = 30_000
"""A dead server's conversations are another's after this; until then it may come back."""

SERVER_SECONDS = 30
"""A server that was not seen for so long is gone."""

ACTIVE = b"spool:active"
SERVERS = b"spool:servers"


def card_key(conversation_id: str) -> bytes:
    return b"spool:card:" + _name(conversation_id)


def lease_key(conversation_id: str) -> bytes:
    return b"spool:lease:" + _name(conversation_id)


def _name(conversation_id: str) -> bytes:
    # surrogatepass: an id is any string, also one that is no valid UTF-8.
    return b"{" + conversation_id.encode("utf-8", "surrogatepass") + b"}"
