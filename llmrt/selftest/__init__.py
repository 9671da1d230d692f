"""What clients depend on, as checks that run against any OpenAI-compatible server. Free of torch."""
