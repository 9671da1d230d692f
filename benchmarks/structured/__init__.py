"""Whether answers that follow a JSON schema are valid, and what that costs: ``python -m benchmarks.structured``."""
