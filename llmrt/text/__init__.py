"""Text on either side of the engine: tokenizers, detokenizing, chat templates. Free of torch."""
