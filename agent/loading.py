"""Finds what a setting names as module:attribute, in the operator's own code."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

from memory.errors import RememberingError

log = logging.getLogger(__name__)


class Unusable(RememberingError):
    """A setting names nothing that can be used: in one line, for who starts the server."""

    def __init__(self, setting: str, name: str, what: str) -> None:
        super().__init__(f"{setting} is {name}; {what}.")


def load_named(setting: str, name: str, folder: Path) -> Any:
    """What ``name`` names, imported from where Python finds modules, and from ``folder``. Raises
    ``Unusable``."""
    module_name, _, attribute = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: nothing in it may stand in for a module of ours
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        log.debug("%s can't be imported.", setting, exc_info=error)
        raise Unusable(setting, name, why(error)) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise Unusable(setting, name, f"{module.__name__} has no {attribute}") from None


def why(error: Exception) -> str:
    """In one line: what went wrong, and in which line of whose file."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    if last is None or isinstance(error, SyntaxError) or last.filename.startswith("<frozen"):
        return said
    return f"{said} ({last.filename}, line {last.lineno})"
