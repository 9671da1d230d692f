"""The loop of a worker process: a JSON line in, a JSON line out. Free of everything but the standard library."""

from __future__ import annotations

import json
import os
import sys


def answer(worker: object) -> None:
    """Call the method of ``worker`` that each request names in ``op``, until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("op"))(**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=out, flush=True)
