"""Behind a real nginx, set up as docs/operations.md says."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import pytest
import socketio

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.client import Client
from tests.support.nginx import Nginx, require_nginx
from tests.support.pages import block
from tests.support.ports import free_port
from tests.support.provider import Provider

# Its answer is who calls from where, with which cookies.
CHECK = """
def check(handshake):
    return f"{handshake.address} {handshake.headers.get('Cookie')}"
"""
TLS = (
    ("listen 443 ssl;", "listen 127.0.0.1:{port};"),
    ("    ssl_certificate     /etc/ssl/chat.example.com.pem;\n", ""),
    ("    ssl_certificate_key /etc/ssl/chat.example.com.key;\n", ""),
    # One of two servers is not there, as while it is deployed.
    ("server 127.0.0.1:8000;", "server 127.0.0.1:{dead}; server 127.0.0.1:{app};"),
)


def site(*, port: int, app: int, dead: int) -> str:
    """The page's block, on plain HTTP, before the test's server."""
    text = block("docs/operations.md", "nginx")
    for said, here in TLS:
        assert text.count(said) == 1, said
        text = text.replace(said, here.format(port=port, app=app, dead=dead))
    return text


async def whom(url: str, transport: str, **headers: str) -> str:
    """The user that the check has made of a connection from 127.0.0.2."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        client = Client(url)
        client.socket.eio.http = session
        client.socket.eio.external_http = True
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            await client.socket.connect(url, headers=sent, transports=[transport], wait_timeout=5)
            told = await client.next_event("session")
            return str(told["user_id"])
        finally:
            await client.close()


async def test_a_stock_client_chats_through_it_and_is_known_by_its_own_address(
    start_app: StartApp, provider: Provider, tmp_path: Path
) -> None:
    require_nginx()
    (tmp_path / "nginx_check.py").write_text(CHECK)
    app = start_app(
        **with_provider(provider, AUTH_CHECK="nginx_check:check", TRUSTED_PROXIES="127.0.0.1")
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Nginx(tmp_path, site(port=port, app=app.port, dead=free_port()), port):
        async with Client(url, "token") as tab:
            asked = await tab.ask("hello")
            assert asked["message"]["content"] == "echo: hello"

        for transport in ("websocket", "polling"):
            spoofed = {"X_Forwarded_For": "203.0.113.9, 127.0.0.1", "X_Real_IP": "203.0.113.9"}
            assert await whom(url, transport, **spoofed) == "127.0.0.2 None"
        # Cookies count from the page's own origin only; a header of one's own changes nothing.
        assert await whom(url, "websocket", Cookie="a=1", Origin=url) == "127.0.0.2 a=1"
        elsewhere = {"Origin": "http://evil.example", "X_Forwarded_Host": "evil.example"}
        with pytest.raises(socketio.exceptions.ConnectionError):
            await whom(url, "websocket", Cookie="a=1", **elsewhere)

        with urllib.request.urlopen(f"{url}/", timeout=5) as page:
            assert "Content-Security-Policy" in page.headers
        for inner in ("/metrics", "/readyz"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url + inner, timeout=5)
