"""Text on either side of the engine: tokenizers, detokenizing, chat templates. Free of torch."""

import os

# Else the tokenizers library starts a thread for each core at the first text, though texts come one by one; where
# the system has no threads left it panics, then and for all later texts. It looks here at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
