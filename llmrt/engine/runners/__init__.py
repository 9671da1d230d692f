"""What computes a step: its batch, and the decoder on a processor or on a GPU."""
