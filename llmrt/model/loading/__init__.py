"""From a checkpoint's tensors to a decoder's weights: as they are, in blocks, or packed."""
