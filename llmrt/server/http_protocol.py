"""uvicorn's fast reading of HTTP, with the limit that it lacks: a head that never ends would fill the memory."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 1 << 16


class HttpProtocol(HttpToolsProtocol):
    """One connection. The head of each request, its line and headers, must fit in 64 KiB."""

    _head_bytes: int | None = 0  # received of it so far, None while a body is read

    def data_received(self, data: bytes) -> None:
        """Refuse to read on where a head is too long already."""
        if self._head_bytes is not None:
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.send_400_response("The head of the request has more than 64 KiB.")
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Whatever comes now is the body."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head begins."""
        self._head_bytes = 0
        super().on_message_complete()
