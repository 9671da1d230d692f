"""Frames over the socket between the HTTP process and the engine process. Free of torch.

A frame is the length of its payload, 4 bytes little-endian, and a record of ``llmrt.engine.messages`` in
msgpack.
"""

from __future__ import annotations

import select
import socket
import struct

import msgspec

from llmrt.engine.messages import FromEngine, ToEngine

HEADER = struct.Struct("<I")
_READ_SIZE = 1 << 16


def encode_frame(record: ToEngine | FromEngine) -> bytes:
    """One record with its length in front."""
    payload = msgspec.msgpack.encode(record)
    return HEADER.pack(len(payload)) + payload


class Channel:
    """The engine's end of the socket.

    Sending never blocks: what the other side has not taken yet waits here, so that a busy HTTP process does
    not hold up the step loop.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = msgspec.msgpack.Decoder(ToEngine)
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def send(self, record: FromEngine) -> None:
        """Hand over a record. Raises ``OSError`` when the other side is gone."""
        self._outgoing += encode_frame(record)
        self._flush()

    def receive(self, *, block: bool) -> list[ToEngine]:
        """Every record that has come; with ``block``, at least one. Raises ``EOFError`` when none can come."""
        self._flush()
        self._read()
        records = self._take()
        while block and not records:
            self._wait()
            self._flush()
            self._read()
            records = self._take()
        return records

    def _wait(self) -> None:
        writers = [self._sock] if self._outgoing else []
        select.select([self._sock], writers, [])

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    def _read(self) -> None:
        while True:
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                raise EOFError("The other side of the channel is closed.")
            self._incoming += data

    def _take(self) -> list[ToEngine]:
        records: list[ToEngine] = []
        start = 0
        while len(self._incoming) - start >= HEADER.size:
            (size,) = HEADER.unpack_from(self._incoming, start)
            end = start + HEADER.size + size
            if len(self._incoming) < end:
                break
            records.append(self._decoder.decode(self._incoming[start + HEADER.size : end]))
            start = end
        del self._incoming[:start]
        return records
