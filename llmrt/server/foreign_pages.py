"""Web pages of other sites, which a browser on this machine or in its network lets send requests here.

Where no key is asked for, such a page has two ways to use the model. It sends a request for which browsers ask no
permission: its ``Origin`` gives it away. Or its own name is given the address of this machine (DNS rebinding), and then
it is a page of this server: the ``Host`` gives it away, for only names that nobody on the internet can have lead to a
server on the loopback address.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from starlette.datastructures import Headers

from llmrt.errors import ForeignPageError

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


def check_origin(headers: Headers, server: str, allowed: Collection[str]) -> None:
    """Raise ``ForeignPageError`` for a page that is neither of this server's, nor of the ``allowed`` origins.

    ``server`` is the address that the connection was made to.
    """
    if "*" in allowed:
        return
    host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
    names = set(map(_netloc, allowed))
    if is_loopback(server) and not _is_local(host) and host not in names:
        raise ForeignPageError(f"This server does not go by the name {host}; --cors-origin http://{host} allows it.")
    page = _netloc(origin)
    if not origin or origin in allowed or page == host or (is_loopback(server) and is_loopback(_name(page))):
        return
    raise ForeignPageError(f"Pages of {origin} may not use this server; --cors-origin {origin} allows it.")


def _is_local(host: str) -> bool:
    """Whether ``host``, of a header, is an address or such a name."""
    name = _name(host)
    return "." not in name or _is_address(name) or name.endswith(_LOCAL_SUFFIXES)


def _netloc(origin: str) -> str:
    return origin.partition("://")[2]


def _name(netloc: str) -> str:
    """``netloc`` without its port and the brackets of an IPv6 address."""
    return netloc.rpartition("]")[0].lstrip("[") if "]" in netloc else netloc.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches what has the name or the address."""
    if not _is_address(name):
        return name == "localhost" or name.endswith(".localhost")
    address = ip_address(name)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
