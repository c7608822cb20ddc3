"""What an operator sees of a chat: measures, traces, and lines of the log; and what they never see.

Each test looks at several things of one server: starting one is most of what they take.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import StartApp, with_provider
from tests.support.app import HOME, App
from tests.support.client import Client, new_id
from tests.support.collector import Collector, Span
from tests.support.provider import Provider, Script, echo
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_until

OF_SEVERAL_WORKERS = {"mnemosio_worker_up", "mnemosio_worker_restarts_total"}

LOADED_OPENTELEMETRY = re.compile(r"^import time: .* opentelemetry$", re.MULTILINE)

PAGE = (HOME / "docs" / "metrics.md").read_text()


async def metrics(app: App) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{app.url}/metrics") as response:
        return await response.text()


async def measures(app: App) -> dict[str, float]:
    """Every sample of ``/metrics``, by its name and labels as they are written there."""
    text = await metrics(app)
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def check_the_page(text: str) -> None:
    """docs/metrics.md has every measure and no other, and its alerts ask for nothing else."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    measured = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert sorted((name, kind) for name, kind, _ in rows) == sorted(measured)
    known = {name for name, _ in measured} | OF_SEVERAL_WORKERS
    for name in set(re.findall(r"\b(?:mnemosio|process|python)_\w+", PAGE)):
        assert name in known or re.sub(r"_(bucket|count|sum)$", "", name) in known, name


def check_the_conventions(text: str) -> None:
    families = list(text_string_to_metric_families(text))
    for family in families:
        assert family.documentation, family.name
        unit = re.sub(r"_(total|max)$", "", family.name).rpartition("_")[2]
        assert unit not in ("ms", "milliseconds", "kb", "mb", "percent"), family.name
        assert family.type != "histogram" or family.name.endswith("_seconds")


async def test_a_chat_is_measured(
    start_app: StartApp, provider: Provider, redis_server: RedisServer
) -> None:
    gate = asyncio.Event()
    app = start_app(
        **with_provider(provider, REDIS_URL=redis_server.url), PYTHONPROFILEIMPORTTIME="1"
    )
    assert not LOADED_OPENTELEMETRY.search(app.output)  # nobody wants traces
    check_the_page(await metrics(app))
    check_the_conventions(await metrics(app))
    before = await measures(app)
    assert before['mnemosio_turns_total{outcome="failed"}'] == 0

    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one two three"))["conversation_id"]
        provider.respond = lambda _: Script(["half", "whole"], gate=gate)
        first = await guest.send("held", conversation_id)
        await guest.send("waits", conversation_id)
        during = await measures(app)
        assert during["mnemosio_connections"] == 1
        assert during["mnemosio_turns_running"] == 1
        assert during["mnemosio_turns_waiting"] == 1
        assert during["mnemosio_conversations_followed"] == 1
        await guest.stop(conversation_id, first["turn"]["id"])
        gate.set()
        await wait_until(lambda: len(guest.all("turn:completed")) == 2, "the second is answered")
        provider.respond = lambda _: Script(status=401)
        await guest.ended((await guest.send("fails", conversation_id))["turn"]["id"])
        await guest.call("made:up:" + new_id(), {})
        await guest.call("made:up:" + new_id(), {})
        await guest.refusal("message:send", content=1)
        await guest.refusal("conversation:open", conversation_id=new_id())

        async def settled() -> dict[str, float] | None:
            found = await measures(app)
            return found if found['mnemosio_turns_total{outcome="failed"}'] == 1 else None

        after = await wait_until(settled, "the end is counted")
    refused = Client(app.url, "not a token")
    with pytest.raises(Exception, match="connect"):
        await refused.connect()
    await refused.socket.shutdown()

    def rose(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert rose('mnemosio_turns_total{outcome="completed"}') == 2
    assert rose('mnemosio_turns_total{outcome="stopped"}') == 1
    failures = {name for name in after if name.startswith("mnemosio_turn_failures_total")}
    assert len(failures) == 1
    assert rose('mnemosio_calls_total{code="ok",name="message:send"}') == 4
    assert rose('mnemosio_calls_total{code="ok",name="turn:stop"}') == 1
    assert rose('mnemosio_calls_total{code="invalid",name="message:send"}') == 1
    assert rose('mnemosio_calls_total{code="not_found",name="conversation:open"}') == 1
    assert rose('mnemosio_calls_total{code="invalid",name="unknown"}') == 2
    assert not [name for name in after if "made:up" in name]

    told = len(guest.all("turn:delta"))
    assert rose("mnemosio_deltas_total") == told
    assert rose('mnemosio_tokens_total{kind="output"}') == 4 + 2  # a word a chunk
    assert rose("mnemosio_turn_first_token_seconds_count") == 3  # one failed before it said a word
    assert rose("mnemosio_turn_duration_seconds_count") == 4
    assert rose("mnemosio_delivery_lag_seconds_count") == 3  # the first frame of each
    assert after['mnemosio_delivery_lag_seconds_bucket{le="1.0"}'] == 3
    assert after["mnemosio_redis_up"] == 1
    assert after['mnemosio_memory_reads_total{way="hot"}'] >= 2
    assert after['mnemosio_memory_reads_total{way="cold"}'] >= 1
    assert after["mnemosio_outbox_bytes"] >= after["mnemosio_outbox_bytes_max"] >= 0
    assert after["process_resident_memory_bytes"] > 20e6
    assert (await measures(app))['mnemosio_connects_refused_total{code="unauthorized"}'] == 1

    redis_server.kill()

    async def away() -> bool:
        now = await measures(app)
        return now["mnemosio_redis_up"] == 0 and now["mnemosio_loop_lag_seconds_count"] > 0

    await wait_until(away, "the loss of Redis is measured, and the event loop")


def chain(collector: Collector, span: Span) -> list[str]:
    """The names from a span up to its root."""
    known = {each.id: each for each in collector.spans}
    names = [span.name]
    while span.parent_id:
        span = known[span.parent_id]
        names.append(span.name)
    return names


async def test_a_chats_spans_reach_the_collector_each_below_what_it_is_a_part_of(
    start_app: StartApp, provider: Provider, redis_server: RedisServer
) -> None:
    gate = asyncio.Event()
    async with Collector() as collector:
        app = start_app(
            **with_provider(provider, REDIS_URL=redis_server.url),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            LOG_FORMAT="json",
            PYTHONPROFILEIMPORTTIME="1",
        )
        assert LOADED_OPENTELEMETRY.search(app.output)
        async with Client(app.url) as guest:
            provider.respond = lambda _: Script(["whispered", " answer"], gate=gate)
            first = await guest.send("whispered question")
            conversation_id = first["conversation_id"]
            second = await guest.send("whispered as well", conversation_id)
            gate.set()
            await guest.completed(second["turn"]["id"])
            await guest.refusal("conversation:open", conversation_id="whispered: no id")
        await wait_until(
            lambda: len(collector.named("turn")) == 2 and collector.named("conversation:open"),
            "the spans arrive",
        )
        # What is sent at the end is not lost.
        async with Client(app.url) as guest:
            await guest.ok("conversation:list")
        began = time.monotonic()
        assert await asyncio.to_thread(app.stop) == 0
        assert time.monotonic() - began < 10
        assert collector.named("conversation:list"), collector.lines()

        assert collector.resource["service.name"] == "mnemosio"
        for sent in (first, second):
            turn_id = sent["turn"]["id"]
            [turn] = [
                span
                for span in collector.named("turn")
                if span.attributes["mnemosio.turn_id"] == turn_id
            ]
            # Also the one that waited, and that the first one's end began.
            [call] = [span for span in collector.spans if span.id == turn.parent_id]
            assert (call.name, call.parent_id) == ("message:send", ""), collector.lines()
            assert call.attributes["mnemosio.turn_id"] == turn_id
            assert call.attributes["mnemosio.conversation_id"] == conversation_id
            assert turn.attributes["mnemosio.outcome"] == "completed"
            assert turn.attributes["mnemosio.attempt"] == 1
            below = {span.name: span for span in collector.under(turn)}
            assert {"chat", "memory.remember", "store.turns.finish"} <= below.keys()
            chat = below["chat"].attributes
            assert chat["gen_ai.request.model"] == "test-model"
            assert chat["gen_ai.usage.output_tokens"] == 2
            assert chat["mnemosio.first_token_seconds"] < 5
            asked = {span.name for span in collector.under(call)}
            assert {"store.turns.insert", "store.conversations.touch"} <= asked
            parents = [request.headers["traceparent"].split("-") for request in provider.chats]
            assert ["00", turn.trace_id, below["chat"].id] in [each[:3] for each in parents]
        # Nothing but calls and turns begins a trace: no leases, no sweeps, no health.
        roots = {span.name for span in collector.spans if not span.parent_id}
        assert roots <= {"message:send", "conversation:open", "conversation:list"}
        loads = [chain(collector, span) for span in collector.named("store.load")]
        assert ["store.load", "memory.read", "message:send"] in loads, loads
        [refused] = collector.named("conversation:open")
        assert refused.failed
        assert refused.attributes["error.type"] == "not_found"

        assert b"whispered" not in collector.bytes
        assert guest.token.encode() not in collector.bytes
        assert guest.session["user_id"].encode() not in collector.bytes
        lines = [json.loads(line) for line in app.output.splitlines() if line.startswith("{")]
        ends = [line for line in lines if line.get("action") == "turn_ended"]
        assert {line["trace_id"] for line in ends} == {
            span.trace_id for span in collector.named("turn")
        }


async def test_a_collector_that_is_silent_or_down_holds_nobody_up(
    start_app: StartApp, provider: Provider
) -> None:
    asked = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(never, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    app = start_app(
        **with_provider(provider),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://ada:hidden-word@127.0.0.1:{port}",
    )
    async with Client(app.url) as guest:
        conversation_id = (await guest.ask("one"))["conversation_id"]
        await wait_until(lambda: asked, "spans are sent to nobody")
        for _ in range(3):
            began = time.monotonic()
            await guest.ask("while it is silent", conversation_id)
            assert time.monotonic() - began < 2
        silent.close()
        await wait_until(
            lambda: "Traces can't be sent" in app.output, "it is noticed, and said", timeout=15
        )
        began = time.monotonic()
        await guest.ask("while it is down", conversation_id)
        assert time.monotonic() - began < 2
    began = time.monotonic()
    assert await asyncio.to_thread(app.stop) == 0
    assert time.monotonic() - began < 10
    assert app.output.count("Traces can't be sent") == 1
    assert "Traceback" not in app.output
    assert "hidden-word" not in app.output


@pytest.mark.parametrize("format", ["text", "json"])
async def test_no_line_of_the_log_has_what_was_said_or_a_secret_and_each_has_its_ids(
    start_app: StartApp, provider: Provider, redis_server: RedisServer, format: str
) -> None:
    app = start_app(
        **with_provider(provider, REDIS_URL=redis_server.url) | {"OPENAI_API_KEY": "sk-hidden-key"},
        LOG_LEVEL="debug",
        LOG_FORMAT=format,
        GUEST_SECRET="hidden secret that signs the guests' tokens",
    )
    async with Client(app.url) as guest:
        sent = await guest.send("hidden question")
        conversation_id, turn_id = sent["conversation_id"], sent["turn"]["id"]
        await guest.completed(turn_id)
        provider.respond = lambda _: Script(["hidden", " half"], error_after=1, error_message="x")
        failed = (await guest.send("hidden as well", conversation_id))["turn"]["id"]
        await guest.ended(failed)
        provider.respond = lambda _: Script(["hidden", " half"], cut_after=1)
        await guest.ended((await guest.send("hidden too", conversation_id))["turn"]["id"])
        title = "hidden title"
        await guest.ok("conversation:rename", conversation_id=conversation_id, title=title)
        for junk in ({"hidden": "field"}, "hidden", ["hidden"], None):
            await guest.call("message:send", junk)
            await guest.call("hidden:call", junk)
        await guest.socket.eio.send("2[hidden: no packet")
        redis_server.kill()
        provider.respond = echo
        await guest.ask("hidden, while Redis is away", conversation_id)
        token = guest.token
    stranger = Client(app.url, "hidden.forged.token")
    with pytest.raises(Exception, match="connect"):
        await stranger.connect()
    await stranger.socket.shutdown()
    app.signal(signal.SIGTERM)
    await wait_until(lambda: app.process is None or app.process.poll() is not None, "it ends")

    log = app.output
    assert "hidden" not in log
    assert token is not None
    assert token not in log
    assert token.rpartition(".")[2] not in log
    if format == "json":
        start = next(n for n, line in enumerate(log.splitlines()) if line.startswith("Mnemosio "))
        plain = log.splitlines()[start : start + 6]
        entries = [json.loads(line) for line in log.splitlines() if line not in plain]
        ended = [entry for entry in entries if entry.get("action") == "turn_ended"]
        assert len(ended) == 4
        assert all(entry["conversation_id"] == conversation_id for entry in ended)
        of_agent = [entry for entry in entries if entry["logger"].startswith("agent")]
        assert failed in {entry.get("turn_id") for entry in of_agent}, of_agent
        assert all(entry["conversation_id"] == conversation_id for entry in of_agent)
        seen = [entry for entry in entries if entry.get("action") in ("connected", "disconnected")]
        assert {entry["user_id"] for entry in seen} == {guest.session["user_id"]}
        assert len({entry["connection_id"] for entry in seen}) == 1
    else:
        assert re.search(rf"A turn ended\.  .*turn_id={turn_id}", log)
