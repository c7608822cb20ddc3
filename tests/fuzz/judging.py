"""What an answer may be, whatever was asked."""

from __future__ import annotations

import re
from typing import Any

from server import errors

CODES = {each.code for each in vars(errors).values() if hasattr(each, "code")} - {"internal"}
REQUIRED = {"code", "message", "retryable"}
OPTIONAL = {"field", "retry_after"}

# Of the server's own. Nothing that is sent has them in it.
OURS = re.compile(
    r'Traceback|File "|\.py\b|/work/|site-packages|SELECT |INSERT |sqlite|redis://|mongodb|'
    r"127\.0\.0\.1|object at 0x|errno|asyncio",
    re.IGNORECASE,
)


def of_answer(answer: Any) -> str | None:
    """What is wrong with the arguments of an acknowledgement."""
    if not isinstance(answer, list) or len(answer) != 1 or not isinstance(answer[0], dict):
        return "it is not one object"
    body = answer[0]
    if body.get("ok") is True:
        return None
    if body.get("ok") is not False or set(body) != {"ok", "error"}:
        return f"it is neither ok nor an error: {sorted(body)}"
    return of_error(body["error"])


def of_error(error: Any) -> str | None:
    if not isinstance(error, dict) or not REQUIRED <= set(error) <= REQUIRED | OPTIONAL:
        return f"an error of another shape: {error!s:.200}"
    if error["code"] not in CODES:
        return f"the code {error['code']!r}"
    if not isinstance(error["message"], str) or not isinstance(error["retryable"], bool):
        return f"an error of other types: {error!s:.200}"
    if not isinstance(error.get("field", ""), str):
        return f"a field of another type: {error!s:.200}"
    return of_text(error["message"])


def of_text(text: str) -> str | None:
    """What of ours a client was told."""
    found = OURS.search(text)
    return f"{found[0]!r} in {text[:200]!r}" if found else None
