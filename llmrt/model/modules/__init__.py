"""The decoder and the modules that it is made of, each bound to its ops when the model is built."""
