"""What the URLs in the settings may be. Each function gives the URL, or raises ``ValueError``."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

# redis-py takes a URL's options as arguments of its own, over those that memory gives it: a
# mistyped one would fail at each connection, and some (protocol, retry_on_timeout) would change
# what memory relies on.
REDIS_OPTIONS = frozenset(
    {
        "db",
        "username",
        "password",
        "client_name",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
    }
)


def http_url(url: str) -> str:
    return _checked(url, "http", "https")


def redis_url(url: str) -> str:
    parts = urlsplit(_checked(url, "redis", "rediss"))
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    tls = {name for name in options if name.startswith("ssl_")}
    if (
        not re.fullmatch(r"(/\d*)?", parts.path)
        or not options.keys() <= REDIS_OPTIONS
        or (tls and parts.scheme != "rediss")
        or not options.get("db", "0").isdecimal()
        or options.get("ssl_cert_reqs", "none") not in ("none", "optional", "required")
    ):
        raise ValueError
    return url


def mongodb_uri(uri: str) -> str:
    # Several hosts with ports are no URL to the standard library, so only the frame is checked.
    scheme, _, rest = uri.partition("://")
    if scheme not in ("mongodb", "mongodb+srv") or not rest.strip("/"):
        raise ValueError
    return uri


def origin(text: str) -> str:
    """Or ``*``."""
    parts = urlsplit(text if text != "*" else "http://any")
    if not parts.netloc or parts.path or parts.query or parts.scheme == "*":
        raise ValueError
    return text


def _checked(url: str, *schemes: str) -> str:
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError unless it is a number a port may have
    if parts.scheme not in schemes or not parts.netloc or any(c.isspace() for c in url):
        raise ValueError
    return url
