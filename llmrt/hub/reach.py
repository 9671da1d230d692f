"""Is the hub there? Asked once, before anything else, with a bound on how long the answer may take."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

from huggingface_hub import constants, get_session

from llmrt.hub.failures import hub_host, reason

PROBE_SECONDS = 4.0


def unreachable_reason(repository: str) -> str | None:
    """Why the hub cannot be used now, or None when it answers; takes PROBE_SECONDS at most.

    A thread asks, because name resolution has no timeout of its own; and the hub client's session asks,
    because it knows the proxy and the certificates.
    """
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    answers: SimpleQueue[str | None] = SimpleQueue()
    seconds = PROBE_SECONDS
    threading.Thread(target=lambda: answers.put(_probe(repository, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return f"{hub_host()} gives no answer within {seconds:g} s"


def _probe(repository: str, seconds: float) -> str | None:
    try:
        status = get_session().head(f"{constants.ENDPOINT}/api/models/{repository}", timeout=seconds).status_code
    except Exception as error:  # a thread must answer, and every failure means the same: not reachable
        return f"{hub_host()}: {reason(error)}"
    return f"{hub_host()} answers {status}" if status >= 500 else None
