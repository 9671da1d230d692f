"""Other APIs than OpenAI's chat, each translated to its requests and from its deltas."""
