"""What fits where: the device, its memory, and the type of weights that follows."""
