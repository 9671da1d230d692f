"""The contract of each operation, and the ordered candidates that implement it."""
