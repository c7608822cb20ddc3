"""Whose page is behind a handshake: a browser names its origin, and no page can change that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from multidict import MultiMapping

DEFAULT_PORTS = {"http": 80, "https": 443}

MayConnect = Callable[[str | None, Mapping[str, Any]], bool]


def allowing(origins: Collection[str]) -> MayConnect:
    """For engine.io: pages of this server's own origin may connect, and of these. Its own rule has
    either the one or the other, and takes the word of X-Forwarded-Host for its own name."""

    def may_connect(origin: str | None, environ: Mapping[str, Any]) -> bool:
        return origin in origins or is_of_one_origin(environ["aiohttp.request"].headers)

    return may_connect


def is_of_one_origin(headers: MultiMapping[str]) -> bool:
    """Whether no other site's page can be behind it: there is none, or its origin is the host that
    it asks. What Host says is what the browser has asked; X-Forwarded-Host is anybody's word."""
    origins, hosts = headers.getall("Origin", []), headers.getall("Host", [])
    if not origins:
        return True
    if len(origins) > 1 or len(hosts) != 1:
        return False
    try:
        page = urlsplit(origins[0])
        asked = urlsplit(f"{page.scheme}://{hosts[0]}")
        default = DEFAULT_PORTS.get(page.scheme)
        return (
            default is not None
            and page.hostname is not None
            and (page.hostname, page.port or default) == (asked.hostname, asked.port or default)
            and page.scheme in _schemes(headers)
        )
    except ValueError:
        return False


def _schemes(headers: MultiMapping[str]) -> Collection[str]:
    """What it may have come by. A proxy that takes TLS off says so; to believe that can only keep
    out a page that came without."""
    told = headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    return (told,) if told in DEFAULT_PORTS else DEFAULT_PORTS
