"""What the engine knows of its own state. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """Requests now, the share of the KV blocks that they hold, and what has been counted since the engine began.

    ``prefix_queries`` are tokens that were looked for in the prefix cache, ``prefix_hits`` those that were found in
    memory, ``disk_queries`` and ``disk_hits`` the same of the disk.
    ``num_drafts`` were verified, with ``num_draft_tokens`` guesses, of which ``num_accepted_tokens`` were right.
    The KV cache has ``num_blocks`` of ``block_size`` tokens.
    """

    num_running: int = 0
    num_waiting: int = 0
    kv_usage: float = 0.0
    num_preemptions: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    disk_queries: int = 0
    disk_hits: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    num_blocks: int = 0
    block_size: int = 0
