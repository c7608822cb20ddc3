"""What in a Redis's configuration undermines the memory, and the setting to change."""

from __future__ import annotations

from collections.abc import Mapping


def advice(config: Mapping[str, str], *, is_only_copy: bool) -> list[str]:
    """One sentence for each; ``config`` holds what CONFIG GET told."""
    found = []
    policy = config.get("maxmemory-policy", "noeviction")
    if config.get("maxmemory", "0") != "0":
        if is_only_copy and policy != "noeviction":
            found.append(
                f"Redis evicts conversations of which it holds the only copy (maxmemory-policy "
                f"{policy}): set maxmemory-policy noeviction."
            )
        elif not is_only_copy and policy == "noeviction":
            found.append(
                "Redis refuses every write once it is full, and is away for all conversations then "
                "(maxmemory-policy noeviction): set maxmemory-policy volatile-ttl."
            )
        elif not is_only_copy and policy != "volatile-ttl":
            found.append(
                f"Redis evicts single keys of conversations in use (maxmemory-policy {policy}), "
                f"each of which is then loaded anew: set maxmemory-policy volatile-ttl."
            )
    if is_only_copy and config.get("appendonly") == "no":
        found.append(
            "Redis holds the only copy of the conversations and may lose the latest when it "
            "restarts: set appendonly yes."
        )
    elif is_only_copy and config.get("appendfsync") == "no":
        found.append(
            "Redis holds the only copy of the conversations and may lose half a minute when its "
            "machine dies (appendfsync no): set appendfsync everysec."
        )
    return found
