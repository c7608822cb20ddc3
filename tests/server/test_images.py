"""What images say of themselves, and what is no image."""

from __future__ import annotations

import random
import struct
import time

import pytest

from server.images import MAX_PIXELS, MAX_SIDE, BadImage, TooManyPixels, check_image
from tests.support.pictures import GIF, JPEG, WEBP, png

KINDS = {"image/png": png(), "image/gif": GIF, "image/webp": WEBP, "image/jpeg": JPEG}


def lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + struct.pack("<I", bits) + b"\0" * 8


def extended(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + sides


def jpeg(width: int, height: int, *before: bytes, frame: int = 0xC0) -> bytes:
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in before)
    header = struct.pack(">BBHBHHB", 0xFF, frame, 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + segments + header


@pytest.mark.parametrize("media_type", KINDS)
def test_each_kind_is_known_by_its_own_bytes_only(media_type: str) -> None:
    assert check_image(media_type, KINDS[media_type]) == (1, 1)
    for other in KINDS.keys() - {media_type}:
        with pytest.raises(BadImage):
            check_image(other, KINDS[media_type])


def test_width_and_height_are_read_as_each_kind_writes_them() -> None:
    assert check_image("image/png", png(300, 200)) == (300, 200)
    assert check_image("image/gif", b"GIF87a" + struct.pack("<HH", 300, 200)) == (300, 200)
    assert check_image("image/webp", lossless(300, 200)) == (300, 200)
    assert check_image("image/webp", extended(300, 200)) == (300, 200)
    assert check_image("image/jpeg", jpeg(300, 200)) == (300, 200)


def test_a_jpegs_size_is_its_own_and_not_its_thumbnails() -> None:
    thumbnail = b"Exif\0\0" + jpeg(16, 16) + b"\xff\xda\0\2"
    for frame in (0xC0, 0xC1, 0xC2, 0xC9):
        assert check_image("image/jpeg", jpeg(640, 480, thumbnail, frame=frame)) == (640, 480)
    assert check_image("image/jpeg", b"\xff\xd8\xff" + jpeg(640, 480)[2:]) == (640, 480)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/png", png(MAX_SIDE + 1, 1)),
        ("image/png", png(50_000, 50_000)),
        ("image/png", png(2**32 - 1, 2**32 - 1)),
        ("image/gif", b"GIF89a\xff\xff\xff\xff"),
        ("image/webp", extended(2**24, 2**24)),
        ("image/webp", lossless(16_384, 16_384)),
        ("image/jpeg", jpeg(65_535, 65_535)),
        ("image/jpeg", jpeg(MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1)),
    ],
)
def test_more_pixels_than_a_decoder_should_be_given_are_refused(
    media_type: str, data: bytes
) -> None:
    with pytest.raises(TooManyPixels):
        check_image(media_type, data)


@pytest.mark.parametrize("media_type", KINDS)
def test_what_ends_too_early_or_is_damaged_is_no_image(media_type: str) -> None:
    rng = random.Random(7)
    whole = KINDS[media_type]
    for end in range(len(whole)):
        try:
            check_image(media_type, whole[:end])
        except BadImage:
            continue
        assert end >= 10, "of so few bytes nothing can be known"
    for _ in range(3_000):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        try:
            check_image(media_type, bytes(damaged))
        except (BadImage, TooManyPixels):
            continue


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 1000, b"\0" * 1000, b"\xff\xd8" + b"\xff" * 700_000, b"<svg/>", b"GIF89a"],
)
def test_junk_is_no_image(data: bytes) -> None:
    for media_type in KINDS:
        with pytest.raises(BadImage):
            check_image(media_type, data)


def test_a_jpeg_of_endless_small_segments_is_read_in_no_time() -> None:
    began = time.monotonic()
    with pytest.raises(BadImage):
        check_image("image/jpeg", b"\xff\xd8" + b"\xff\xe1\0\2" * 175_000)
    assert time.monotonic() - began < 0.1


def test_no_pixels_are_no_image() -> None:
    with pytest.raises(BadImage):
        check_image("image/png", png(0, 5))
    with pytest.raises(BadImage):
        check_image("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
