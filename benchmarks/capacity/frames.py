"""The client's side of a websocket (RFC 6455), free of I/O and as cheap as Python can make it.

Offers permessage-deflate as browsers do, and inflates what a server that took it up sends.
"""

from __future__ import annotations

import re
import struct
import zlib

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FINAL, _COMPRESSED = 0x80, 0x40
_MASKED = 0x80
# A mask of zeros is as legal as any other, and leaves the text as it is.
_MASK = bytes(4)
_TAIL = b"\x00\x00\xff\xff"
"""What a sender leaves out of each compressed message (RFC 7692)."""

_EXTENSION = re.compile(rb"sec-websocket-extensions: *(permessage-deflate[^\r]*)", re.IGNORECASE)


class Refused(Exception):
    """The server did not open the websocket."""


def request(path: str, port: int) -> bytes:
    """What asks for a websocket. The key is always the same, and the answer to it not checked."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message of the client's. At most 65,535 bytes."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, _MASKED | length))
    else:
        head = struct.pack("!BBH", _FINAL | opcode, _MASKED | 126, length)
    return head + _MASK + payload


class Frames:
    """Makes messages of the bytes that come, however they are cut."""

    def __init__(self) -> None:
        self._unread = b""
        self._is_open = False
        self._parts: list[bytes] = []
        """Of a message whose end has not come."""
        self._is_compressed = False
        """The message whose end has not come."""
        self._inflater: zlib._Decompress | None = None
        self._begins_anew = False
        """The server compresses each message by itself."""

    @property
    def deflates(self) -> bool:
        """The server took permessage-deflate up."""
        return self._inflater is not None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that are whole by now, each with its opcode. Raises ``Refused``."""
        if self._unread:
            data = self._unread + data
            self._unread = b""
        if not self._is_open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._unread = data
                return []
            self._open(head)
            data = rest
        messages: list[tuple[int, bytes]] = []
        place, size = 0, len(data)
        while size - place >= 2:
            first, length = data[place], data[place + 1]
            start = place + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[place + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[place + 2 : start], "big")
            end_of_frame = start + length
            if size < end_of_frame:  # it is, too, where the length itself is cut
                break
            place = end_of_frame
            message = self._message(first, data[start:end_of_frame])
            if message is not None:
                messages.append(message)
        self._unread = data[place:]
        return messages

    def _open(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101"):
            raise Refused(head.partition(b"\r\n")[0].decode(errors="replace"))
        self._is_open = True
        extension = _EXTENSION.search(head)
        if extension is not None:
            self._begins_anew = b"server_no_context_takeover" in extension[1]
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def _message(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return opcode, payload
        if opcode != _CONTINUATION:
            self._is_compressed = bool(first & _COMPRESSED)
        if self._parts or not first & _FINAL:
            self._parts.append(payload)
            if not first & _FINAL:
                return None
            payload, self._parts = b"".join(self._parts), []
        return TEXT, self._inflated(payload) if self._is_compressed else payload

    def _inflated(self, payload: bytes) -> bytes:
        assert self._inflater is not None, "compressed, though that was not agreed"
        text = self._inflater.decompress(payload + _TAIL)
        if self._begins_anew:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return text
