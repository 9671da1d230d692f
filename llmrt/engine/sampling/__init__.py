"""From logits to tokens: the sampler, grammars, log-probabilities of prompts."""
