"""Images for tests: real ones, as small as they get."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any


def png(width: int = 1, height: int = 1, *, padding: int = 0, shade: int = 0) -> bytes:
    """A grey one. What it claims is what it is up to some hundred pixels; beyond, it has no rows.

    ``padding``: so many bytes more, in a chunk that decoders skip.
    """
    rows = b"".join(b"\0" + bytes([shade]) * width for _ in range(height if height < 999 else 0))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            _chunk(b"paDd", b"\0" * padding) if padding else b"",
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAwA0JaQAA3AA/vuUAAA=")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP////////////////////////////////////////////////////"
    "//////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgB"
    "AQABPxA="
)


def attachment(
    data: bytes | None = None, media_type: str = "image/png", *, as_text: bool = True
) -> dict[str, Any]:
    """As a call has it."""
    data = png() if data is None else data
    return {
        "type": "image",
        "media_type": media_type,
        "data": base64.b64encode(data).decode() if as_text else data,
    }
