"""Whose page is behind a handshake, and what it may prove."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from server.identity.check import handshake
from server.identity.origins import allowing

HTTPS = ("X-Forwarded-Proto", "https")
PROOFS = {
    "Cookie": "session=1",
    "Authorization": "Basic YTpi",
    "X-Forwarded-User": "ada",
    "X-Forwarded-Host": "evil.example",
    "Referer": "https://evil.example/",
}


def shown(pairs: Iterable[tuple[str, str]]) -> set[str]:
    headers = CIMultiDict([*pairs, *PROOFS.items()])
    return {name.lower() for name in handshake("t", headers, "").headers}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "chat.example"),
        ("https://chat.example", "chat.example"),
        ("https://chat.example", "chat.example:443"),
        ("http://chat.example", "chat.example"),
        ("http://chat.example:8000", "chat.example:8000"),
        ("https://CHAT.example", "chat.EXAMPLE"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_cookies_are_shown_where_the_page_is_of_this_origin(origin: str | None, host: str) -> None:
    pairs = [("Host", host)] + ([("Origin", origin)] if origin is not None else [])
    assert {"cookie", "authorization", "x-forwarded-user"} <= shown(pairs)


@pytest.mark.parametrize(
    "pairs",
    [
        [("Host", "chat.example"), ("Origin", "https://evil.example")],
        [("Host", "chat.example"), ("Origin", "https://chat.example.evil.example")],
        [("Host", "chat.example"), ("Origin", "https://chat.example:8443")],
        [("Host", "chat.example:8000"), ("Origin", "http://chat.example")],
        [("Host", "chat.example"), ("Origin", "null")],
        [("Host", "chat.example"), ("Origin", "")],
        [("Host", "chat.example"), ("Origin", "file://")],
        [("Host", "chat.example"), ("Origin", "https://chat.example:x")],
        [("Host", "chat.example"), ("Origin", "https://[chat.example")],
        [("Host", "chat.example"), ("Origin", "chrome-extension://chat.example")],
        [("Host", "chat.example"), ("Origin", "http://chat.example"), HTTPS],
        [("Origin", "https://chat.example")],
        [
            ("Host", "chat.example"),
            ("Origin", "https://chat.example"),
            ("Origin", "https://evil.example"),
        ],
        [
            ("Host", "chat.example"),
            ("Host", "evil.example"),
            ("Origin", "https://evil.example"),
        ],
    ],
)
def test_a_page_of_another_origin_proves_nothing_by_what_the_browser_adds(
    pairs: list[tuple[str, str]],
) -> None:
    assert shown(pairs) <= {"host", "origin"}


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        ((), None, True),
        ((), "http://chat.example", True),
        ((), "http://evil.example", False),
        (("https://app.example",), "https://app.example", True),
        (("https://app.example",), "http://chat.example", True),
        (("https://app.example",), "http://app.example", False),
        (("https://app.example",), "null", False),
    ],
)
def test_pages_of_our_own_and_of_named_sites_may_connect(
    allowed: tuple[str, ...], origin: str | None, may: bool
) -> None:
    pairs = {"Host": "chat.example", "X-Forwarded-Host": "evil.example"}
    headers = pairs | ({} if origin is None else {"Origin": origin})
    environ = {"aiohttp.request": make_mocked_request("GET", "/", headers=headers)}
    assert allowing(allowed)(origin, environ) is may
