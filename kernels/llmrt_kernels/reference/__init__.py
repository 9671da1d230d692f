"""The plain torch form of every operation: the truth that each backend is tested against."""
