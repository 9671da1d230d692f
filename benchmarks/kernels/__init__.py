"""Benchmarks of single kernels. Their memory lies on large pages, as an engine's does."""

from llmrt.engine.hardware.threads import limit_spinning

limit_spinning()  # read when torch is imported
