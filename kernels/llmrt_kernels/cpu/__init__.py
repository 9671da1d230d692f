"""Native CPU kernels, called through a C ABI, and the tape that runs a whole step of them in one call."""
