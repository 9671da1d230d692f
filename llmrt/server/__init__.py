"""The OpenAI-compatible HTTP server. Free of torch: the engine is a process of its own."""
