"""What macOS answers about the machine, by name. Free of torch."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = "/usr/sbin/sysctl"


def sysctl(name: str) -> str:
    """The value; empty for a name that it does not know, and on other systems."""
    if sys.platform != "darwin":
        return ""
    try:
        done = subprocess.run([_PROGRAM, "-n", name], capture_output=True, text=True, check=False)
    except OSError:  # where a sandbox keeps other programs out
        return ""
    return done.stdout.strip()
