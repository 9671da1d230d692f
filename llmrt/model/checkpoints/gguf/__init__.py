"""A model in a .gguf file."""
