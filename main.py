"""Mnemosio: a Socket.IO chat server with built-in memory.

This is its start: settings and logging, then one server, or with WORKERS above 1 several and who
looks after them. The story of a server, from top to bottom, is ``serving.py``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from server import __version__
from server.observability import logs
from server.settings import Settings, SettingsError, load_settings
from server.workers.place import Place
from server.workers.supervisor import supervise

log = logging.getLogger("mnemosio")


def main() -> int:
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return 2
    logs.configure(settings.log_level, settings.log_format)
    if settings.otel_exporter_otlp_endpoint is None:
        # Nobody traces. Libraries load it wherever they find it (redis-py: 2.5 MB); with this they
        # don't find it.
        sys.modules["opentelemetry"] = None  # type: ignore[assignment]
    place = Place.among(sys.argv)
    if place is not None:
        place.mark_log_lines()
    else:
        for line in settings.warnings:
            log.warning(line)
        if settings.workers > 1:
            return supervise(settings, tell)

    # Here, because who looks after workers needs nothing of what a server is made of.
    import serving

    return serving.run(settings, place, tell)


def tell(settings: Settings, port: int, force: Mapping[str, str]) -> None:
    """What is in force, in a few lines a person can read."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    workers = f"  workers {settings.workers}\n" if settings.workers > 1 else ""
    tools = f"  tools   {force['tools']}\n" if force["tools"] else ""
    print(
        f"Mnemosio {__version__}  http://{host}:{port}\n"
        f"{workers}"
        f"  memory  {force['memory']}\n"
        f"  store   {force['store']}\n"
        f"  model   {force['model']}\n"
        f"{tools}"
        f"  open to {force['who']}\n"
        "  Ctrl+C stops it; nothing is forgotten.",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
