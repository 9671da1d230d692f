"""Model families: how each names its configuration fields and tensors. Free of torch."""
