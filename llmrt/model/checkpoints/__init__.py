"""A model on disk: its configuration, its inventory, and its tensors one by one."""
