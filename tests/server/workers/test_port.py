"""A port that several processes share, and nobody else."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from server.workers.port import CannotListen, Port
from tests.support.ports import free_port

HOST = "127.0.0.1"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(port: int, *options: int) -> socket.socket:
    """As a server of asyncio's has it."""
    bound = socket.socket()
    try:
        for option in (socket.SO_REUSEADDR, *options):
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((HOST, port))
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


def held(port: int) -> Port:
    taken = Port(HOST, port)
    taken.take()
    return taken


def test_workers_listen_on_a_held_port_and_get_all_connections(opened: ExitStack) -> None:
    port = held(0)
    opened.callback(port.release)
    assert port.number > 0
    workers = [opened.enter_context(listening(port.number, socket.SO_REUSEPORT)) for _ in range(2)]
    for _ in range(60):
        opened.enter_context(socket.create_connection((HOST, port.number), timeout=2))
    accepted: Counter[int] = Counter()
    for number, worker in enumerate(workers):
        worker.setblocking(False)
        try:
            while True:
                opened.enter_context(worker.accept()[0])
                accepted[number] += 1
        except BlockingIOError:
            pass
    assert accepted.total() == 60
    assert min(accepted[0], accepted[1]) > 5


def test_a_port_with_another_server_is_taken_also_where_that_would_share_it(
    opened: ExitStack,
) -> None:
    for options in ((), (socket.SO_REUSEPORT,)):
        number = free_port()
        opened.enter_context(listening(number, *options))
        with pytest.raises(CannotListen) as error:
            held(number)
        assert str(error.value) == (
            f"HOST {HOST}, PORT {number}: address already in use. "
            "Stop what runs there, or set PORT to another one."
        )


def test_a_held_port_is_taken_for_others_also_while_no_worker_listens(opened: ExitStack) -> None:
    port = held(free_port())
    opened.callback(port.release)
    with pytest.raises(CannotListen):
        held(port.number)
    with pytest.raises(OSError, match="in use"):
        listening(port.number)
    port.release()
    held(port.number).release()


def test_the_connections_of_an_earlier_server_do_not_keep_the_port(opened: ExitStack) -> None:
    number = free_port()
    with listening(number) as earlier:
        opened.enter_context(socket.create_connection((HOST, number)))
        served = opened.enter_context(earlier.accept()[0])
    # It ends first, so it is the one that has to remember the connection for a minute.
    served.close()
    held(number).release()


def test_a_host_that_nobody_knows_is_told() -> None:
    port = Port("no.such.host.invalid", 0)
    with pytest.raises(CannotListen, match=r"^HOST no\.such\.host\.invalid, PORT 0: .+\.$"):
        port.take()
