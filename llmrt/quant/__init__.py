"""Quantization: schemes, choosing codes and scales, packing them for the kernels."""
