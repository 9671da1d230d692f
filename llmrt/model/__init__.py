"""The one decoder, its configuration, and how checkpoints become its weights."""
