"""What the server lets one user, one client, one conversation have of it."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """0 switches a limit off. Where it does not say otherwise, a limit is this process's."""

    message_chars: int
    attachments: int
    """With one message; 0: none are taken."""
    attachment_bytes: int
    """Of each."""
    attachment_bytes_per_user: int
    """Of all that a user has stored."""
    messages_per_minute: int
    """Of one user, on all servers together; so the next."""
    calls_per_minute: int

    user_tokens_per_day: int
    """Of one user, on all servers together."""
    tokens_per_day: int
    """Of all users, on all servers together."""

    running_turns: int
    queued_turns: int
    """In one conversation."""
    queued_turns_per_user: int
    turn_attempts: int

    connections_per_user: int
    connections_per_address: int
    open_conversations: int
    """Followed by one connection."""
    calls_under_way: int
    """Of one connection; beyond, it is not read."""
    outbox_bytes: int
    """What waits for one connection; beyond, it is cut off."""
    connect_seconds: float
    """How long a client may take to CONNECT."""
