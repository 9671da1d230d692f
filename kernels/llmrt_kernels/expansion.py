"""Where GPUs expand weights to bf16 for many tokens, and memory for it: see ``triton/expand.py``. Free of torch."""

from __future__ import annotations

# Tokens from which a weight is expanded to bf16 and torch multiplies, where matrix units add bf16 products in fp32 at
# their full rate. Computed for an H200, not measured: to expand a weight takes as long as 230 tokens' products, and
# for each token this way should take 1.07 times torch's time, int8 1.4 to 1.7 times. So they are even at 380 to 640
# tokens; it is more than that, for this way has more launches.
EXPANDED_FROM = dict.fromkeys(("sm_80", "sm_90", "sm_100", "sm_103", "gfx90a", "gfx942", "gfx950"), 1024)

STRIP_BYTES = 64 << 20  # of a weight in bf16 that a GPU has at a time
