"""What is done to the server over a websocket. Each attack is made of its ``Random`` alone, and
says what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from tests.fuzz import values
from tests.fuzz.judging import of_answer
from tests.fuzz.line import Line, line

Attack = Callable[[Random, str], Awaitable[list[str]]]


async def hostile_calls(rng: Random, url: str) -> list[str]:
    """Each call is answered as the contract has it, however it was made."""
    findings = []
    async with line(url, rudely=rng.random() < 0.5) as its:
        if not await its.connect():
            return ["a client was not connected"]
        known: list[str] = []
        for number in range(rng.randrange(1, 25)):
            ack = rng.choice((number, number, 10**18 + number, int("9" * 90) + number))
            name, arguments = values.call(rng, known)
            text = values.text_of([name, *arguments])
            if len(text) > 900_000:
                continue
            try:
                answer = await its.call(ack, text)
            except TimeoutError:
                findings.append(f"no answer to {text[:200]}")
                continue
            if answer is None:
                findings.append(f"the connection ended at {text[:200]}")
                break
            if wrong := of_answer(answer):
                findings.append(f"{wrong}, for {text[:200]}")
            elif answer[0]["ok"]:
                known += ids_in(answer[0])
    return findings


def ids_in(body: dict[str, object]) -> list[str]:
    found = [body.get("conversation_id")]
    for part in ("conversation", "message", "turn"):
        inner = body.get(part)
        if isinstance(inner, dict):
            found.append(inner.get("id"))
            found += [each["id"] for each in inner.get("attachments", ())]
    return [each for each in found if isinstance(each, str)]


async def calls_at_once(rng: Random, url: str) -> list[str]:
    """Many calls that nobody waits for, also with other clients' packets among them."""
    async with line(url, rudely=rng.random() < 0.5) as its:
        if not await its.connect():
            return ["a client was not connected"]
        asked = []
        for number in range(rng.randrange(50, 400)):
            name, arguments = values.call(rng, [])
            text = values.text_of([name, *arguments])
            if len(text) < 20_000:
                asked.append(its.ask(number, text))
                await its.say(f"42{number}{text}")
        if rng.random() < 0.3:
            return []  # it does not wait for the answers
        done, pending = await asyncio.wait(asked, timeout=30) if asked else (set(), set())
        findings = [f"{len(pending)} calls were not answered"] if pending else []
        for each in done:
            if (answer := each.result()) is None:
                return [*findings, "the connection ended"]
            if wrong := of_answer(answer):
                findings.append(wrong)
        return findings


SEEDS = (
    *('42["message:send",{}]', '421["conversation:list",{}]', "40", '40{"token":"x"}', "41"),
    *("2", "3", "4", "5", "6", "1", "0", "2probe", "44", "430[]", '431["x"]', "42[]", "42null"),
    *('451-["x",{"_placeholder":true,"num":0}]', "461-0[]", '452-1["x"]', "40/admin,", "41/x,"),
    *('42/x,1["conversation:list",{}]', "4", "43" + "9" * 99 + "[]", "4" * 50, "42" + "[" * 2000),
    '451-1["message:send",{"message_id":"m","content":"x","attachments":[{"type":"image",'
    '"media_type":"image/png","data":{"_placeholder":true,"num":0}}]}]',
    *('42["connect"]', '42["disconnect","x"]', '421["connect",{}]', "45", "45-", "4599999999999-"),
)


def mutated(rng: Random) -> str | bytes:
    """A packet, or what was one."""
    text = rng.choice(SEEDS)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(text) + 1)
        fate = rng.randrange(4)
        if fate == 0:
            text = text[:at]
        elif fate == 1:
            text = (
                text[:at] + rng.choice(('"', "[", "{", "-", "/", ",", "\x00", "9", "é")) + text[at:]
            )
        elif fate == 2:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + values.text_of(values.value(rng, 3)) + text[at:]
    if rng.random() < 0.15:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    return text


async def packets(rng: Random, url: str) -> list[str]:
    """Whatever is said, the connection ends or is as good as before."""
    async with line(url, rudely=rng.random() < 0.5) as its:
        if rng.random() < 0.7:
            await its.connect()
        for _ in range(rng.randrange(1, 40)):
            await its.say(mutated(rng))
        return await still_good(its)


async def still_good(its: Line) -> list[str]:
    with suppress(TimeoutError):
        await its.connect()
        answer = await its.call(77_777, '["conversation:list",{"limit":1}]')
        if answer is None:
            return []
        wrong = of_answer(answer)
        return [f"{wrong}, after garbage"] if wrong else []
    # It may have been told that it is not connected, as it said DISCONNECT; then it is ended.
    try:
        async with asyncio.timeout(10):
            await its.ended.wait()
    except TimeoutError:
        return [f"neither an answer nor an end after garbage; heard last: {its.heard[:100]!r}"]
    return []


async def connects(rng: Random, url: str) -> list[str]:
    """CONNECT and DISCONNECT, again and again, with anything for a token."""
    async with line(url, rudely=rng.random() < 0.5) as its:
        for _ in range(rng.randrange(1, 30)):
            auth = values.value(rng)
            if rng.random() < 0.5:
                auth = {"token": auth, "pid": auth, "offset": auth}
            text = values.text_of(auth)
            if len(text) < 100_000:
                await its.say(rng.choice(("40", "41", "40", f"40{text}", f"40/x,{text}", "41/x,")))
        return await still_good(its)


async def flood(rng: Random, url: str) -> list[str]:
    """Many connections at once, left in any state."""

    async def visit(state: int, rudely: bool) -> None:
        with suppress(OSError, TimeoutError):
            async with line(url, rudely=rudely) as its:
                if state == 1:
                    await its.say("40")
                elif state == 2:
                    await its.connect()
                elif state == 3:
                    await its.say('40{"token":"bad"}')
                elif state == 4:
                    await its.connect()
                    await its.say('452-["never complete",{"_placeholder":true,"num":0}]')
                    await its.say(b"x" * 100_000)

    kinds = [(rng.randrange(5), rng.random() < 0.5) for _ in range(rng.randrange(5, 40))]
    await asyncio.gather(*(visit(*kind) for kind in kinds))
    return []


async def never_reads(rng: Random, url: str) -> list[str]:
    """It asks for much, and reads nothing."""
    long = "x" * rng.randrange(2_000)
    what = rng.choice((f"40/{long},", f'421["{long}"]', "5", '42["conversation:list",{}]'))
    async with line(url, rudely=True) as its:
        await its.connect()
        response = its.socket._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                for _ in range(rng.randrange(20_000)):
                    await its.say(what)
    return []
