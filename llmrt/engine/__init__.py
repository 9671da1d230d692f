"""The engine: requests, scheduling, the paged KV cache, the step loop."""
