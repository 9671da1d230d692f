"""What this machine has: processors, memory, GPUs, and how much of them this process may use."""
