"""A project's own check: what it is shown, and what may come back from it."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from agent.loading import Unusable
from server.errors import Away, Unauthorized
from server.identity.check import Check, Handshake, load_check
from server.identity.identity import Identity

GUESTS = "a secret of thirty-two bytes or more"


def by(function: Any, *, guests: bool = False, **more: Any) -> Identity:
    return Identity(
        guest_secret=GUESTS if guests else None, check=Check(function, "mine:check", **more)
    )


def names(caller: Handshake) -> str | None:
    """The id that the token is, if it is one of somebody's."""
    return caller.token if caller.token != "nobody" else None


async def names_later(caller: Handshake) -> str | None:
    await asyncio.sleep(0)
    return names(caller)


@functools.wraps(names_later)
def names_wrapped(caller: Handshake) -> Any:
    return names_later(caller)


class Named:
    def __call__(self, caller: Handshake) -> str | None:
        return names(caller)


@pytest.mark.parametrize("function", [names, names_later, names_wrapped, Named()])
async def test_it_says_who_is_calling(function: Any) -> None:
    identity = by(function)
    caller = await identity.identify("ada")
    assert (caller.user_id, caller.guest, caller.token) == ("ada", False, None)
    for refused in ("nobody", None):
        with pytest.raises(Unauthorized):
            await identity.identify(refused)
    assert identity.description == "users that mine:check lets in"


async def test_it_is_given_the_token_the_headers_and_the_address() -> None:
    seen: list[Handshake] = []
    identity = by(lambda caller: seen.append(caller))
    headers = CIMultiDict({"Cookie": "session=1", "Host": "chat.example"})
    with pytest.raises(Unauthorized):
        await identity.identify("any text", headers, "192.0.2.7")
    assert (seen[0].token, seen[0].address) == ("any text", "192.0.2.7")
    assert seen[0].headers["cookie"] == "session=1"
    assert seen[0].headers.get("COOKIE") == "session=1"


@pytest.mark.parametrize("token", ["", 7, True, ["x"], "x" * 20_000])
async def test_what_is_no_token_does_not_reach_it(token: Any) -> None:
    seen: list[Handshake] = []
    with pytest.raises(Unauthorized):
        await by(seen.append).identify(token)
    assert not seen


async def test_guests_are_let_in_without_it_where_they_are_allowed() -> None:
    seen: list[Handshake] = []
    identity = by(seen.append, guests=True)
    guest = await identity.identify(None)
    assert await identity.identify(guest.token) == guest
    assert not seen
    with pytest.raises(Unauthorized):
        await identity.identify("a bad token makes no guest")
    with pytest.raises(Unauthorized, match="Guests are not let in"):
        await by(seen.append).identify(guest.token)
    assert len(seen) == 1


@pytest.mark.parametrize("user_id", ["", "x" * 201, "guest:1", "a\0b", "a\nb", "\ud800"])
async def test_an_id_that_no_user_may_have_is_refused(user_id: str) -> None:
    with pytest.raises(Unauthorized):
        await by(lambda caller: user_id).identify("token", CIMultiDict(), "")


def fails(caller: Handshake) -> str:
    raise ZeroDivisionError("of the project's own")


async def fails_later(caller: Handshake) -> str:
    raise ValueError("of the project's own")


def leaves(caller: Handshake) -> str:
    raise SystemExit(3)


@pytest.mark.parametrize(
    "function",
    [fails, fails_later, leaves, lambda caller: True, lambda caller: b"ada", lambda caller: 7],
)
async def test_one_that_fails_is_unavailable_and_says_so_in_the_log_only(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Away) as refused:
        await by(function).identify("token")
    assert "project" not in refused.value.message
    assert refused.value.retryable
    assert "AUTH_CHECK" in caplog.text


async def test_one_that_hangs_is_unavailable_and_holds_nobody_up() -> None:
    release = threading.Event()

    def hangs(caller: Handshake) -> str:
        release.wait(10)
        return "ada"

    async def hangs_later(caller: Handshake) -> str:
        await asyncio.Event().wait()
        return "ada"

    try:
        identities = [by(hangs, timeout_seconds=0.2), by(hangs_later, timeout_seconds=0.2)]
        begun = time.monotonic()
        callers = [identity.identify("token") for identity in identities for _ in range(20)]
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert time.monotonic() - begun < 2
        assert {type(result) for result in results} == {Away}
    finally:
        release.set()


async def test_it_takes_no_more_threads_than_it_may() -> None:
    release, running = threading.Event(), []

    def hangs(caller: Handshake) -> str:
        running.append(caller)
        release.wait(10)
        return "ada"

    identity = by(hangs, timeout_seconds=0.2, most_at_once=3)
    tries = [identity.identify("token") for _ in range(10)]
    assert {type(each) for each in await asyncio.gather(*tries, return_exceptions=True)} == {Away}
    assert len(running) == 3
    release.set()
    assert (await identity.identify("token")).user_id == "ada"


# Finding it


def test_one_in_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/nowhere"])
    (tmp_path / "mine_found.py").write_text("def check(handshake):\n    return 'ada'\n")
    assert load_check("mine_found:check", tmp_path).name == "mine_found:check"


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (None, "mine_missing:check", "ModuleNotFoundError: No module named 'mine_missing'"),
        ("check = 7", "mine_seven:check", "mine_seven has no function check"),
        ("", "mine_empty:check", "mine_empty has no check"),
        ("1 / 0", "mine_broken:check", "ZeroDivisionError: division by zero"),
        ("def", "mine_wrong:check", "SyntaxError: "),
    ],
)
def test_one_that_can_not_be_called_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str, line: str
) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    if text is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(text)
    with pytest.raises(Unusable) as refused:
        load_check(name, tmp_path)
    assert str(refused.value).startswith(f"AUTH_CHECK is {name}; {line}")
    assert "\n" not in str(refused.value)
