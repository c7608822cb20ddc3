"""What waits is counted as it goes over the wire."""

from __future__ import annotations

import pytest
from engineio import packet

from server.edge.outbox import PACKET_BYTES, Outbox


@pytest.mark.parametrize(
    ("data", "bytes"),
    [("x" * 10, 10), ("é" * 10, 20), ("👩" * 10, 40), ("\ud800", 1), (b"12", 2), (None, 0)],
)
def test_a_packet_counts_by_its_bytes(data: str | bytes | None, bytes: int) -> None:
    outbox = Outbox(0)
    outbox.put_nowait(packet.Packet(packet.MESSAGE, data=data))
    outbox.put_nowait(None)
    assert outbox.bytes == PACKET_BYTES + bytes
    outbox.get_nowait()
    assert outbox.bytes == 0


def test_it_is_overfull_beyond_its_limit_and_never_without_one() -> None:
    for most, overfull in ((PACKET_BYTES + 10, False), (PACKET_BYTES + 9, True), (0, False)):
        outbox = Outbox(most)
        outbox.put_nowait(packet.Packet(packet.MESSAGE, data="x" * 10))
        assert outbox.is_overfull is overfull
        outbox.clear()
        assert outbox.bytes == 0
        assert not outbox.is_overfull
