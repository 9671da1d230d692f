"""Tokens that are guessed, and verified several at once: no answer changes, some come sooner."""
