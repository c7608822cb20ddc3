"""The client's types are those of the server's contract."""

from __future__ import annotations

from tests.web.wire import WIRE, wire


def test_the_clients_types_are_up_to_date() -> None:
    assert WIRE.read_text(encoding="utf-8") == wire(), "run: python -m tests.web.wire"


def test_nothing_of_the_contract_is_without_a_type() -> None:
    assert "unknown" not in wire().replace("Record<string, unknown>", "")
