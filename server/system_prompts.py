"""The operator's file of system prompts that a conversation may choose."""

from __future__ import annotations

import tomllib
from pathlib import Path

MAX_NAME_CHARS = 128  # as an id on the wire


class PromptsRefused(ValueError):
    """Its text says why, to stand after "it must be …: "."""


def read_system_prompts(path: Path) -> dict[str, str]:
    """The texts by their names, in the file's order. Raises ``PromptsRefused``."""
    try:
        found = tomllib.loads(path.expanduser().read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PromptsRefused(f"it can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PromptsRefused("it is no UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PromptsRefused(f"it is no TOML ({error})") from error
    for name, text in found.items():
        if not isinstance(text, str) or not text.strip():
            raise PromptsRefused(f"what {name} is, is no text")
        if not name.strip() or len(name) > MAX_NAME_CHARS:
            raise PromptsRefused(f"a name has 1 to {MAX_NAME_CHARS} characters")
    return found
