"""What an image says of itself in its first bytes: its kind, its width and height. No I/O.

Nothing here decodes a picture: whoever shows it does, a browser or the model's provider, and a few
kilobytes can claim to be gigabytes of pixels. So the claim is read, and bounded, before anything is
kept. A library would read it too (Pillow), but brings decoders for dozens of formats, which are
most of its size and of its CVEs; four headers are the few lines below.

SVG is left out for good: it is a program.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_SIDE = 16_384
MAX_PIXELS = 40_000_000
"""What a decoder makes of it: 160 MB. A photograph of today's telephones has 12 to 24 million."""

# Those of a JPEG's markers that begin a frame: not the tables (C4, CC) and not an extension (C8).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Those that stand alone, without a length.
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END = 0xDA, 0xD9
# A camera's has a few dozen segments before its frame; junk could have a hundred thousand.
_MOST_STEPS = 2_000


class BadImage(ValueError):
    """It is no image of the kind that it is said to be."""


class TooManyPixels(ValueError):
    """It is more than a decoder should be given."""


def check_image(media_type: str, data: bytes) -> tuple[int, int]:
    """Its width and height. Raises ``BadImage`` and ``TooManyPixels``."""
    try:
        width, height = _READERS[media_type](data)
    except (KeyError, IndexError) as error:  # it ends before it has said so
        raise BadImage from error
    if width < 1 or height < 1:
        raise BadImage
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise TooManyPixels
    return width, height


def _png(data: bytes) -> tuple[int, int]:
    # The first chunk is the header, of 13 bytes.
    _require(data.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"))
    return _big(data, 16, 4), _big(data, 20, 4)


def _gif(data: bytes) -> tuple[int, int]:
    _require(data.startswith((b"GIF87a", b"GIF89a")))
    return _little(data, 6, 2), _little(data, 8, 2)


def _webp(data: bytes) -> tuple[int, int]:
    _require(data.startswith(b"RIFF") and data[8:12] == b"WEBP")
    kind = data[12:16]
    if kind == b"VP8X":  # the canvas, less one
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if kind == b"VP8L":
        _require(data[20] == 0x2F)
        bits = _little(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    _require(kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a")
    return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    _require(data.startswith(b"\xff\xd8\xff"))
    at = 2
    for _ in range(_MOST_STEPS):
        _require(data[at] == 0xFF)
        at += 1
        marker = data[at]
        if marker == 0xFF:  # any number of them may stand before a marker
            continue
        at += 1
        if marker in _FRAMES:
            return _big(data, at + 5, 2), _big(data, at + 3, 2)
        _require(marker not in (0x00, _START_OF_SCAN, _END))
        if marker not in _ALONE:
            length = _big(data, at, 2)
            _require(length >= 2)
            at += length
    raise BadImage


def _require(holds: bool) -> None:
    if not holds:
        raise BadImage


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_part(data, at, size), "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_part(data, at, size), "little")


def _part(data: bytes, at: int, size: int) -> bytes:
    part = data[at : at + size]
    _require(len(part) == size)
    return part


_READERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
