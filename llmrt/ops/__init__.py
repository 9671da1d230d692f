"""The ordered candidates for each operation, whose contract is the signature and docstring of its reference."""
