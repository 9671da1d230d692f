"""From a model on disk to an engine that is ready to step."""
