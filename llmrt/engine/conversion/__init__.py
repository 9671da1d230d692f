"""A model made into another one, quantized or merged, and what that costs."""
