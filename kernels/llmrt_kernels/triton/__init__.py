"""The kernels for GPUs, one source in Triton for NVIDIA (sm_80 on) and AMD (gfx11, gfx942). Triton must be installed.

One file a kernel family: the formula, the shapes and the layout at its top, the kernel, its launcher. A launcher takes
tensors of one device, allocates what it returns there, and never waits for the device: nothing that it does depends on
values in device memory, so that a decode step can be captured in a graph.
"""
