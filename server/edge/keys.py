"""Every Redis key of the edge, and how long each lives.

| key | type | holds | lives |
| --- | --- | --- | --- |
| ``rate:calls:{user}``, ``rate:messages:{user}`` | string | when all that this user may do in a \
minute has grown back, in microseconds of Redis's clock | until then, a minute at most |
"""

from __future__ import annotations


def rate_key(kind: str, user_id: str) -> bytes:
    # surrogatepass: an id is any string, also one that is no valid UTF-8.
    return f"rate:{kind}:{{{user_id}}}".encode("utf-8", "surrogatepass")
