"""One request as the log tells of it: its id, and what became of it so far."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address

from starlette.types import Scope

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")  # without line breaks, by which a client could write lines of the log


@dataclass
class TokenCount:
    """Tokens of a request's prompts and, so far, of its answers."""

    prompt_tokens: int
    completion_tokens: int = 0


@dataclass(kw_only=True)
class Exchange:
    """``status`` is None until the response begins, ``model`` and ``tokens`` for a request that does not get so far.

    ``client`` is its address, ``model`` the name that answers, ``error`` the code of what it ended with, if it did.
    """

    id: str
    client: str
    method: str
    path: str
    began: float = field(default_factory=time.monotonic)
    status: int | None = None
    model: str | None = None
    error: str | None = None
    tokens: TokenCount | None = None

    def __str__(self) -> str:
        return f"{self.id} {self.client} {self.method} {self.path}"

    @property
    def line(self) -> str:
        """How it ended, as a line of text."""
        count = "" if self.tokens is None else f" {self.tokens.prompt_tokens}+{self.tokens.completion_tokens} tokens"
        about = "".join(f" {word}" for word in (self.model, self.error) if word)
        return f"{self} {self.status or 'closed'} {self._seconds:.3f}s{about}{count}"

    @property
    def fields(self) -> Mapping[str, object]:
        """The same as fields of a JSON line; ``status`` is null where the connection closed without an answer."""
        tokens = {} if self.tokens is None else asdict(self.tokens)
        seconds = round(self._seconds, 6)
        about = {"request_id": self.id, "client": self.client, "method": self.method, "path": self.path}
        ended = {name: word for name, word in (("model", self.model), ("error", self.error)) if word}
        return {**about, "status": self.status, "seconds": seconds, **ended, **tokens}

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self.began


_current: ContextVar[Exchange] = ContextVar("exchange")


def begin_exchange(scope: Scope) -> Exchange:
    """The exchange of an HTTP request, which from now on is that of this context."""
    path = scope["raw_path"].decode("ascii", "backslashreplace")
    exchange = Exchange(id=_request_id(scope), client=_client(scope), method=scope["method"], path=path)
    _current.set(exchange)
    return exchange


def current_exchange() -> Exchange:
    """The exchange that this code runs for; outside of a request, a blank one."""
    return _current.get(None) or Exchange(id="-", client="-", method="-", path="-")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"x-request-id" and _CLIENT_ID.fullmatch(text):
            return text
    return f"req_{uuid.uuid4().hex}"


def _client(scope: Scope) -> str:
    """The address of the client; what a trusted proxy says may be any text."""
    try:
        address = ip_address(scope["client"][0])
    except (TypeError, ValueError):
        return "-"
    return str(getattr(address, "ipv4_mapped", None) or address)
