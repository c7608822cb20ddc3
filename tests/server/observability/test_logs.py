"""What a log line looks like, and which lines there are."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from server.observability.logs import JsonFormatter, TextFormatter
from server.settings import HOME


def record(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    logger = logging.Logger("server.turns")
    return logger.makeRecord(
        logger.name, logging.INFO, __file__, 1, message, args, None, "function", extra
    )


@pytest.mark.parametrize(
    ("extra", "pairs"),
    [
        ({}, ""),
        ({"turn_id": "t1", "attempt": 2}, "  turn_id=t1 attempt=2"),
        ({"error": "two words"}, '  error="two words"'),
        ({"error": 'say "no"'}, r'  error="say \"no\""'),
        ({"error": "one\ntwo"}, r'  error="one\ntwo"'),
        ({"title": ""}, '  title=""'),
        ({"at": None, "ok": True}, "  at=None ok=True"),
    ],
)
def test_a_text_line_has_time_level_sentence_and_pairs(extra: dict[str, Any], pairs: str) -> None:
    line = TextFormatter().format(record("Turn %s", "started", **extra))
    assert line[2] == line[5] == ":"
    assert line[12:] == f" INFO    Turn started{pairs}"


def test_a_text_line_stays_one_line() -> None:
    line = TextFormatter().format(record("one\n12:00:00.000 INFO    forged\x1b[2J"))
    assert line.endswith("INFO    one 12:00:00.000 INFO    forged [2J")


def test_a_json_line_has_its_extras_beside_what_every_line_has() -> None:
    line = JsonFormatter().format(record("Turn ✅", turn_id="t1", usage={"in": 1}, level="mine"))
    entry = json.loads(line)
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "server.turns",
        "message": "Turn ✅",
        "turn_id": "t1",
        "usage": {"in": 1},
    }


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: "a"}, {("a",): "b"}, object(), b"x"])
def test_no_value_spoils_a_json_line(value: object) -> None:
    assert "extra" in json.loads(JsonFormatter().format(record("A sentence", extra=value)))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_an_exceptions_trace_is_kept(formatter: logging.Formatter) -> None:
    failed = record("It failed")
    try:
        raise RuntimeError("the reason")
    except RuntimeError:
        failed.exc_info = sys.exc_info()
    assert "RuntimeError: the reason" in formatter.format(failed)


CHATTER = """
import logging, sys, warnings
from server.observability.logs import configure
configure("error", "json")
configure(sys.argv[1], "text")
logging.getLogger("server.turns").debug("ours, in detail")
logging.getLogger("memory").info("ours")
logging.getLogger("pymongo.command").debug("theirs, in detail")
logging.getLogger("aiohttp.access").info("theirs")
logging.getLogger("engineio.server").warning("their warning")
logging.getLogger("mongo").error("our error")
warnings.warn("beware", stacklevel=1)
"""


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["ours, in detail", "ours", "their warning", "our error"]),
        ("info", ["ours", "their warning", "our error"]),
        ("warning", ["their warning", "our error"]),
        ("error", ["our error"]),
    ],
)
def test_the_level_is_for_our_lines_and_others_only_warn(level: str, heard: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CHATTER, level],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    lines = [line[21:] for line in ran.stderr.splitlines() if line[2:3] == ":"]
    assert [line for line in lines if "beware" not in line] == heard
    assert ("beware" in ran.stderr) is (level != "error")
    assert ran.stdout == ""
