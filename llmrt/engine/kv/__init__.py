"""Who owns which KV block: pool, prefix cache, manager. Free of torch."""
