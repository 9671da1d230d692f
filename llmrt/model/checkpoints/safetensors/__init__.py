"""A model in a folder of safetensors."""
