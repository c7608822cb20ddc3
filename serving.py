"""A server's story, from top to bottom: its place, the permanent store, the memory, the agent, the
server; run, drain, close.

Whatever is started is closed in reverse, also when something after it fails to start.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack

import uvloop

from agent.chat import ChatAgent
from making import (
    make_agent,
    make_facts,
    make_finder,
    make_guest_secrets,
    make_memory,
    make_server,
    make_store,
    make_traces,
)
from memory import RedisConversationMemory
from memory.errors import RememberingError
from server.chat_server import ChatServer
from server.observability import logs
from server.observability.traced import traced, traced_store
from server.settings import Settings
from server.turns.slot import Slot, SlotError
from server.workers.place import Place
from server.workers.port import CannotListen
from server.workers.supervisor import Tell
from server.workers.worker import Worker
from spool.store import SpooledStore
from stores.contract import Store

log = logging.getLogger("mnemosio")

# Threads of a store (SQLite's, Motor's) let go of the interpreter a few times an operation, and
# while the event loop is busy they wait as long to get it back, each time. With Python's own 5 ms
# the first token of 50 users took twice as long with Motor; the event loop loses nothing that could
# be measured.
SWITCH_SECONDS = 0.0005

# What is cancelled at the very end has this long to end.
LEFT_SECONDS = 1.0


def run(settings: Settings, place: Place | None, tell: Tell) -> int:
    """One server until it is asked to stop; the exit code. A worker has a ``place``."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, place, tell))
    except (RememberingError, SlotError, CannotListen) as error:
        if place is not None:
            place.say(failed=str(error))
        else:
            print(f"Mnemosio can't start: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: Settings, place: Place | None, tell: Tell) -> None:
    async with AsyncExitStack() as started:
        started.push_async_exit(end_what_is_left)
        stop = stop_signal(is_worker=place is not None)

        worker = Worker(place, leave=stop.set) if place else None
        if worker is not None:
            await worker.open()
            started.push_async_callback(worker.close)

        traces = make_traces(settings)
        started.push_async_callback(traces.close)
        logs.name_traces(traces.ids)

        slot = Slot(settings.data_dir)
        slot.take()
        started.callback(slot.release)

        store = make_store(settings, slot)
        await store.connect()
        started.push_async_callback(store.close)

        memory = make_memory(settings, traced_store(store, traces))
        await memory.connect()
        started.push_async_callback(memory.close)
        if isinstance(store, SpooledStore):
            store.look_in(memory.peek)
        for warning in await memory.warnings():
            log.warning(warning)

        finder = make_finder(settings, traced_store(store, traces))
        started.push_async_callback(finder.close)

        facts = make_facts(settings, traced_store(store, traces))
        agent = await make_agent(
            settings, store, traced(memory, "memory", traces), facts, finder, traces
        )
        started.push_async_callback(agent.close)

        guests = await make_guest_secrets(settings, store)
        server = make_server(
            settings, slot, store, memory, facts, agent, finder, guests, worker, traces
        )
        started.push_async_callback(server.close)
        port = await server.start(settings.host, place.port if place else settings.port)
        if isinstance(store, SpooledStore):
            store.drain_to(server.returns.drained)

        sys.setswitchinterval(SWITCH_SECONDS)
        settle_garbage_collector()
        force = in_force(memory, store, agent, server)
        if worker is not None:
            worker.ready(force, shared=memory.state == "redis")
        else:
            tell(settings, port, force)

        await stop.wait()
        log.info(
            "Stopping: running answers get up to %g s, clients are sent elsewhere.%s",
            settings.drain_grace_seconds,
            "" if worker else " Asked once more, it ends at once.",
        )
        if worker is not None and worker.leaving:
            await server.leave_port()
        await server.drain(settings.drain_grace_seconds)


def in_force(
    memory: RedisConversationMemory, store: Store, agent: ChatAgent, server: ChatServer
) -> dict[str, str]:
    """What people are told at the start."""
    return {
        "memory": memory.description,
        "store": store.description,
        "model": agent.description,
        "tools": ", ".join(agent.tools),
        "who": server.who,
    }


def stop_signal(*, is_worker: bool) -> asyncio.Event:
    """Set by SIGTERM, SIGINT or SIGHUP. A second one ends the process where it stands, but not a
    worker: it may come from a service manager, which signals all, and from the supervisor for the
    same reason. That one kills its workers when it is asked twice."""
    stop = asyncio.Event()

    def asked(number: int) -> None:
        if stop.is_set() and not is_worker:
            os._exit(128 + number)
        stop.set()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, asked, number)
    return stop


async def end_what_is_left(kind: type[BaseException] | None, *more: object) -> None:
    """When all that is ours is closed, what still runs is an agent of the operator's own which
    won't be cancelled. asyncio would wait for it for ever."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks or kind is not None:
        return
    _, left = await asyncio.wait(tasks, timeout=LEFT_SECONDS)
    if left:
        log.error("The process ends although AGENT does not.", extra={"tasks": len(left)})
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def settle_garbage_collector() -> None:
    """What is loaded by now stays: to look through it again and again makes the longest pauses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
