"""Pictures to send, made here: one colour, or noise that nothing compresses."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path


def png(width: int, height: int, *, colour: bytes | None = b"\x1f\x6f\x5c") -> bytes:
    """Of one colour; without one, of noise."""
    noise = random.Random(1)
    rows = (
        b"\0" + (noise.randbytes(3 * width) if colour is None else colour * width)
        for _ in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def saved(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file
