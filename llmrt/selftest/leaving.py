"""Clients that leave: what they asked for is not computed to its end, as the server's own counts tell."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import httpx2

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.server import CHAT, Server

CHECKS: Checks = []
LONG = "Count from one to ten thousand in words."
PATIENCE = httpx2.Timeout(120, connect=5, read=0.3)
WAIT_SECONDS = 5
_COUNTER = "vllm:request_success_total"
_ENDED = re.compile(rf'^{_COUNTER}{{.*finished_reason="(\w+)".*}} (\S+)', re.MULTILINE)


class Ends(NamedTuple):
    """How many requests ended because their client left, and how many went to their end."""

    aborted: float
    whole: float


@check(CHECKS, 34, "a client that leaves ends its request, streamed or not")
def _c34(server: Server) -> str:
    body = server.body(server.orders.get("hang", LONG), max_tokens=1000, ignore_eos=True)  # however short it would be
    before = _ends(server)
    with server.open(CHAT, {**body, "stream": True}) as response:
        expect(response.status_code == 200, f"status {response.status_code}")
        next(response.iter_bytes(), b"")  # it is under way
    _wait(server, before, "a stream")
    before = _ends(server)
    try:
        server.client.post(CHAT, json=body, timeout=PATIENCE)
    except httpx2.TransportError:
        _wait(server, before, "an answer that is not streamed")
        return "both are counted as aborted"
    return "a stream is counted as aborted; a whole answer came too soon to leave it"


def _ends(server: Server) -> Ends:
    text = server.get("/metrics").text
    if _COUNTER not in text:
        raise NotApplicableError(f"how requests ended cannot be seen: /metrics has no {_COUNTER}")
    counts = [(reason, float(count)) for reason, count in _ENDED.findall(text)]
    return Ends(
        aborted=sum(count for reason, count in counts if reason == "abort"),
        whole=sum(count for reason, count in counts if reason in ("stop", "length")),
    )


def _wait(server: Server, before: Ends, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (now := _ends(server)).aborted == before.aborted:
        expect(now.whole == before.whole, f"{what} is computed to its end though its client left")
        if time.monotonic() > deadline:
            raise NotApplicableError(f"the server counts no aborted request {WAIT_SECONDS} s after its client left")
        time.sleep(0.02)
