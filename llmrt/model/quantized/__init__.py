"""Matrices that another tool quantized: how each keeps them in safetensors, and what numbers they stand for."""
