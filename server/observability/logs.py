"""Log lines for people (text) and for machines (one JSON object a line), on standard error."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import orjson

# Everybody else's loggers stay at warnings whatever the level: at "debug" several of them write
# whole queries and requests, and thereby what people said.
OURS = (
    "mnemosio",
    "server",
    "agent",
    "memory",
    "mongo",
    "embedded",
    "stores",
    "redislink",
    "spool",
)

# Whose lines are about the turn that they are written in: an agent has its request to answer, and
# knows of no ids in its depths. The others say themselves what their lines are about: a task that
# some turn began may be everybody's.
OF_A_TURN = ("agent",)

# What a record has of its own; the rest came by ``extra``.
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure(level: str, format: Literal["text", "json"]) -> None:
    """Send all log lines of this process to standard error; may be called again."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.addFilter(_with_ids)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(threshold)
    logging.captureWarnings(True)


class Turn(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def conversation_id(self) -> str: ...


_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)
_trace_ids: Callable[[], Mapping[str, str]] = dict


@contextmanager
def about(turn: Turn) -> Iterator[None]:
    """What an agent logs here, and in tasks that begin here, is about this turn."""
    token = _turn.set(turn)
    try:
        yield
    finally:
        _turn.reset(token)


def name_traces(ids: Callable[[], Mapping[str, str]]) -> None:
    """From now on lines have the ids of the trace that they are written in."""
    global _trace_ids  # as logging itself is: one for the process
    _trace_ids = ids


def _with_ids(record: logging.LogRecord) -> bool:
    ids = dict(_trace_ids())
    turn = _turn.get()
    if turn is not None and record.name.partition(".")[0] in OF_A_TURN:
        ids |= {"conversation_id": turn.conversation_id, "turn_id": turn.id}
    for key, value in ids.items():
        record.__dict__.setdefault(key, value)
    return True


class TextFormatter(logging.Formatter):
    """``12:30:05.123 INFO    A sentence  key=value other="two words"``, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        # One line a record: whatever came in from outside must not be able to forge a second.
        sentence = "".join(c if c.isprintable() else " " for c in record.getMessage())
        line = f"{at:%H:%M:%S}.{int(record.msecs):03d} {record.levelname:7} {sentence}"
        pairs = " ".join(f"{key}={_plain(value)}" for key, value in _extras(record).items())
        return "\n".join(filter(None, (f"{line}  {pairs}".rstrip(), _trace(self, record))))


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", …extras, "exception"?}``, time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            entry["exception"] = trace
        entry |= {key: value for key, value in _extras(record).items() if key not in entry}
        try:
            return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # lone surrogates, integers above 64 bits
            return json.dumps(entry, default=str, skipkeys=True)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _OWN}


def _plain(value: object) -> str:
    text = str(value)
    bare = text and all(c.isprintable() and c not in ' "=' for c in text)
    return text if bare else json.dumps(text, ensure_ascii=False)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return "\n".join(filter(None, (trace, record.stack_info)))
