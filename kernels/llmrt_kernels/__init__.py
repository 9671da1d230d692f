"""Kernels that take tensors and integers, know nothing of llmrt, and can be tested and shipped alone."""
