"""The collections and their indexes: the whole data model, made here and nowhere else.

conversations
    _id, user, title, created_at, updated_at, digest   times in ms since 1970
    revision, turn, answers                             the position; the other two only ever rise
                                                        ... while the revision is the same
    summary {text, upto, turns, version}                absent until the first one
    choice {model, system_prompt}                       absent where both are the defaults
    deleted                                             a tombstone keeps _id, user and this, and
    deleted_at, purged                                  ... when, and whether its turns are gone

turns                                                   one document a turn
    _id, conversation, user, n, revision, digest, accepted, created_at
    place                                               absent from an older server's: then it is n
    rewrites                                            it is an edit or a regenerate
    superseded, superseded_by                           ... which of them took its place
    question {message_id, content, created_at}          message_id is the key; the message's id is
    question.shown_id                                   ... here where it is another
    question.attachments [{id, type, media_type, size}] absent where there are none, as all these:
    choice {…}, tools (JSON text), feedback {…}
    status, open, attempt, stop_requested
    owner, lease_until                                  a date by the store's own clock
    answer {…, usage: JSON text}, error {…}, answers    once it has ended
    context (JSON text)                                 what the model was given
    is_counted_after: true                              was open as a later one came, ended
    vectors {model, question, answer, at}               what an embedding model made of its texts

attachments                                             one document a picture
    _id, conversation, user, key, at                    key is that of the call it came with
    type, media_type, size, data                        well below 1 MB
    claimed                                             a turn was found that refers to it

facts                                                   one document a user
    _id, stamp                                          the user; another stamp with each change
    kept (JSON text)                                    see memory/facts.py

erasures    _id the user, all of whose is being deleted     goes when that is done
            at                                          what is older goes

usage                                                   what a purged conversation used
    _id (the conversation), user, last_day              days since 1970, UTC
    days [{day, turns, input_tokens, …}]
spent                                                   what a server has noted of a day
    _id "day/server", day, tokens                       tokens only rises

secrets     _id the name, value
probes      one document, written by ``ping``

A superseded turn is out of every query but those by its own id, by its key (whoever repeats that
call must still be recognised) and by the turn that superseded it. Its number stays taken.

Older servers may work on the same collections: what they wrote lacks what is new here, they make
their own indexes again under the same names, and they leave alone what they don't know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

Document: TypeAlias = dict[str, Any]

ALIVE: Document = {"deleted": False}
CURRENT: Document = {"superseded": False}
OPEN: Document = {"open": True, **CURRENT}

SUPERSEDED: Document = {"superseded": True}

MESSAGE_INDEX = "one_turn_a_message"
NUMBER_INDEX = "one_turn_a_number"
WORDS_INDEX = "words"
NUMBER_EVER_INDEX = "one_turn_a_number_ever"
RUNNING_INDEX = "one_running"

CONVERSATION_INDEXES = [
    IndexModel(
        [("user", ASCENDING), ("updated_at", DESCENDING), ("_id", DESCENDING)],
        name="of_a_user",
        partialFilterExpression=ALIVE,
    ),
    IndexModel(
        [("deleted_at", ASCENDING)], name="unpurged", partialFilterExpression={"purged": False}
    ),
]

TURN_INDEXES = [
    IndexModel(
        [("user", ASCENDING), ("question.message_id", ASCENDING)], name=MESSAGE_INDEX, unique=True
    ),
    # Also what the last 50 messages, the last number and the prompt are read by.
    IndexModel(
        [("conversation", ASCENDING), ("n", DESCENDING)],
        name=NUMBER_INDEX,
        unique=True,
        partialFilterExpression=CURRENT,
    ),
    # A number that came free when its turn was superseded could be taken by a server that has not
    # seen yet what the conversation has become. Hidden: for no query is it better than the others.
    IndexModel(
        [("n", ASCENDING), ("conversation", ASCENDING)],
        name=NUMBER_EVER_INDEX,
        unique=True,
        hidden=True,
    ),
    IndexModel(
        [("conversation", ASCENDING), ("place", DESCENDING), ("n", DESCENDING)],
        name="places",
        partialFilterExpression=CURRENT,
    ),
    IndexModel(
        [("conversation", ASCENDING), ("n", ASCENDING), ("superseded_by", ASCENDING)],
        name="superseded",
        partialFilterExpression=SUPERSEDED,
    ),
    IndexModel(
        [("conversation", ASCENDING)],
        name=RUNNING_INDEX,
        unique=True,
        partialFilterExpression={"status": "running", **CURRENT},
    ),
    IndexModel(
        [("conversation", ASCENDING), ("n", ASCENDING)],
        name="open_of_a_conversation",
        partialFilterExpression=OPEN,
    ),
    IndexModel([("lease_until", ASCENDING)], name="leases", partialFilterExpression=OPEN),
    IndexModel([("owner", ASCENDING)], name="owners", partialFilterExpression=OPEN),
    # Full text, of one user; whether a turn is of one conversation stands in the index as well. Its
    # words are stemmed as English ones, which does others little harm. The override is a field that
    # no turn has: by default it is "language", which something in a turn may come to be called.
    IndexModel(
        [
            ("user", ASCENDING),
            ("question.content", TEXT),
            ("answer.content", TEXT),
            ("conversation", ASCENDING),
        ],
        name=WORDS_INDEX,
        default_language="english",
        language_override="words_language",
        partialFilterExpression=CURRENT,
    ),
    IndexModel(
        [("user", ASCENDING), ("vectors.model", ASCENDING), ("vectors.at", DESCENDING)],
        name="vectors",
        partialFilterExpression={"vectors.at": {"$exists": True}},
    ),
    # What a purge finds: superseded turns too, which the partial indexes leave out. Older servers
    # refuse two indexes on the same field alone, hence the second.
    IndexModel([("conversation", ASCENDING), ("created_at", ASCENDING)], name="of_a_conversation"),
]

ATTACHMENT_INDEXES = [
    IndexModel([("conversation", ASCENDING)], name="of_a_conversation"),
    # Covers the sum of what a user has stored.
    IndexModel(
        [("user", ASCENDING), ("key", ASCENDING), ("size", ASCENDING)], name="sizes_of_a_user"
    ),
    IndexModel([("at", ASCENDING)], name="unclaimed", partialFilterExpression={"claimed": False}),
]

ERASURE_INDEXES = [IndexModel([("at", ASCENDING)], name="unfinished")]
USAGE_INDEXES = [IndexModel([("user", ASCENDING), ("last_day", ASCENDING)], name="of_a_user")]
SPENT_INDEXES = [IndexModel([("day", ASCENDING)], name="of_a_day")]


@dataclass(frozen=True)
class Collections:
    conversations: AsyncCollection[Document]
    turns: AsyncCollection[Document]
    attachments: AsyncCollection[Document]
    facts: AsyncCollection[Document]
    erasures: AsyncCollection[Document]
    usage: AsyncCollection[Document]
    spent: AsyncCollection[Document]
    secrets: AsyncCollection[Document]
    probes: AsyncCollection[Document]

    @classmethod
    def of(cls, database: AsyncDatabase[Document]) -> Collections:
        return cls(
            conversations=database["conversations"],
            turns=database["turns"],
            attachments=database["attachments"],
            facts=database["facts"],
            erasures=database["erasures"],
            usage=database["usage"],
            spent=database["spent"],
            secrets=database["secrets"],
            probes=database["probes"],
        )

    def all(self) -> list[AsyncCollection[Document]]:
        """In the order in which they are given to make one."""
        return [
            self.conversations,
            self.turns,
            self.attachments,
            self.facts,
            self.erasures,
            self.usage,
            self.spent,
            self.secrets,
            self.probes,
        ]

    async def make_indexes(self) -> None:
        """Harmless when they are there."""
        await self.conversations.create_indexes(CONVERSATION_INDEXES)
        await self.turns.create_indexes(TURN_INDEXES)
        await self.attachments.create_indexes(ATTACHMENT_INDEXES)
        await self.erasures.create_indexes(ERASURE_INDEXES)
        await self.usage.create_indexes(USAGE_INDEXES)
        await self.spent.create_indexes(SPENT_INDEXES)

    async def probe(self) -> None:
        """A write that changes nothing of anybody's."""
        await self.probes.update_one({"_id": "ping"}, {"$currentDate": {"at": True}}, upsert=True)
