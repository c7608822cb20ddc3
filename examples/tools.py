"""Tools for the built-in agent: TOOLS=examples.tools:tools

A model is told their names, their arguments and their docstrings.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

METRES = {"cm": 0.01, "m": 1.0, "km": 1000.0, "in": 0.0254, "ft": 0.3048, "mi": 1609.344}


def convert(amount: float, unit: str, to: str) -> str:
    """Convert a length. Units: cm, m, km, in, ft, mi."""
    if unknown := [each for each in (unit, to) if each not in METRES]:
        raise ValueError(f"unknown units: {', '.join(unknown)}")  # the model is told this
    return f"{amount * METRES[unit] / METRES[to]:g} {to}"


@contextmanager
def notes() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect("notes.db")
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (user TEXT, text TEXT)")
        yield connection
    connection.close()


@tool
def add_note(text: str, config: RunnableConfig) -> str:
    """Keep a note for the user."""
    user = config["configurable"]["user_id"]  # not an argument that a model could choose
    with notes() as kept:
        kept.execute("INSERT INTO notes VALUES (?, ?)", (user, text))
    return "kept"


add_note.metadata = {"changes": True, "timeout": 5}


@tool
def read_notes(config: RunnableConfig) -> str:
    """The user's notes, one a line."""
    user = config["configurable"]["user_id"]
    with notes() as kept:
        found = kept.execute("SELECT text FROM notes WHERE user = ?", (user,)).fetchall()
    return "\n".join(text for (text,) in found) or "none"


tools = [convert, add_note, read_notes]
