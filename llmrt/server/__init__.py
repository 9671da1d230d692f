"""The HTTP process: OpenAI routes, streaming, and the client of the engine process. Free of torch."""
