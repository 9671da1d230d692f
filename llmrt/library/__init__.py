"""Models in a program: what the HTTP API answers, without HTTP. Free of torch, which the engine's process imports."""
