"""Frames over the socket between the HTTP process and the engine process. Free of torch.

A frame is the length of its payload, 4 bytes little-endian, and a record of ``llmrt.engine.messages`` in
msgpack.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Generic, TypeVar

import msgspec

from llmrt.engine.messages import FromEngine, ToEngine

T = TypeVar("T")
HEADER = struct.Struct("<I")
_READ_SIZE = 1 << 16


def encode_frame(record: ToEngine | FromEngine) -> bytes:
    """One record with its length in front."""
    payload = msgspec.msgpack.encode(record)
    return HEADER.pack(len(payload)) + payload


class Inbox(Generic[T]):
    """Records out of bytes as they come."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decoder = decoder
        self._bytes = bytearray()

    def push(self, data: bytes) -> list[T]:
        """The records that are whole with ``data``. Raises ``MsgspecError`` for what is none."""
        self._bytes += data
        records: list[T] = []
        start = 0
        while len(self._bytes) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(self._bytes, start)[0]
            if len(self._bytes) < end:
                break
            records.append(self._decoder.decode(self._bytes[start + HEADER.size : end]))
            start = end
        del self._bytes[:start]
        return records


class Channel:
    """The engine's end of the socket.

    Sending never blocks: what the other side has not taken yet waits here, so that a busy HTTP process does
    not hold up the step loop.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._poll = select.poll()
        self._inbox = Inbox(msgspec.msgpack.Decoder(ToEngine))
        self._outgoing = bytearray()

    def send(self, record: FromEngine) -> None:
        """Hand over a record. Raises ``OSError`` when the other side is gone."""
        self._outgoing += encode_frame(record)
        self._flush()

    def receive(self, *, block: bool) -> list[ToEngine]:
        """Every record that has come; with ``block``, at least one. Raises ``EOFError`` when none can come."""
        self._flush()
        records = self._read()
        while block and not records:
            self._is_ready(select.POLLIN | select.POLLOUT if self._outgoing else select.POLLIN, None)
            self._flush()
            records = self._read()
        return records

    def _is_ready(self, events: int, milliseconds: int | None) -> bool:
        """Whether it can be read from, or written to; waits so long for that, None for as long as it takes."""
        self._poll.register(self._sock, events)
        return bool(self._poll.poll(milliseconds))

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    def _read(self) -> list[ToEngine]:
        records: list[ToEngine] = []
        while self._is_ready(select.POLLIN, 0):  # costs less than the error that reading nothing is
            data = self._sock.recv(_READ_SIZE)
            if not data:
                raise EOFError("The other side of the channel is closed.")
            records += self._inbox.push(data)
        return records
