"""Ends with status 0 if the server on this machine can answer, else with 1: the health check of the Docker images.

It asks the port that LLMRT_PORT names, or 8000.
"""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

_HOST = "127.0.0.1"
_SECONDS = 2.5  # Docker ends the check after 3


def is_ready(port: int) -> bool:
    """Whether ``/ready`` says so, by HTTP or else by HTTPS, whatever name the certificate is for."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    for connection in (
        HTTPConnection(_HOST, port, timeout=_SECONDS),
        HTTPSConnection(_HOST, port, timeout=_SECONDS, context=unverified),
    ):
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except TimeoutError:  # a busy server, or none: Docker waits no longer
            return False
        except (OSError, HTTPException):
            continue
        finally:
            connection.close()
    return False


def main() -> int:
    """The exit status."""
    return 0 if is_ready(int(os.environ.get("LLMRT_PORT") or "8000")) else 1


if __name__ == "__main__":
    sys.exit(main())
