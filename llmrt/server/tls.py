"""The certificate that the server shows, checked before a model is loaded, and read again when it was renewed."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from llmrt.errors import ConfigError
from llmrt.server.changed_files import ChangedFiles

logger = logging.getLogger("llmrt.server")


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS with the certificate chain ``cert`` and its private key, which else is in the same file; None without both.

    Raises ``ConfigError`` that names the file that cannot be used.
    """
    if cert is None:
        if key is not None:
            raise ConfigError("--tls-key needs --tls-cert, the certificate that it belongs to.")
        return None
    renewal = _Renewal(cert, key)
    context = renewal.context
    context.sni_callback = renewal
    return context


class _Renewal:
    """Has each new connection see the certificate that the files hold by then; the callback is for its greeting."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self._changes = ChangedFiles(cert, key or cert)
        self.context = _context(cert, key)

    def __call__(self, connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        """As ``SSLContext.sni_callback``."""
        if self._changes.changed():
            self._read()
        connection.context = self.context

    def _read(self) -> None:
        try:
            self.context = _context(self._cert, self._key)
        except ConfigError as error:
            logger.error("%s The certificate of before is still shown.", error)
        else:
            logger.info("--tls-cert %s was read again", self._cert)


def _context(cert: Path, key: Path | None) -> ssl.SSLContext:
    _check_holds(cert, "BEGIN CERTIFICATE", "--tls-cert")
    _check_holds(key or cert, "PRIVATE KEY", "--tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        reason = (error.reason or "they cannot be read").lower().replace("_", " ")
        raise ConfigError(f"--tls-cert {cert} and --tls-key {key or cert} do not go together: {reason}.") from error
    return context


def _check_holds(file: Path, what: str, flag: str) -> None:
    try:
        text = file.read_text("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"{flag} {file} cannot be read: {error.strerror}.") from error
    if what not in text:
        raise ConfigError(f"{flag} {file} has no {what.removeprefix('BEGIN ').lower()} in PEM form.")
    if "ENCRYPTED" in text:
        raise ConfigError(f"{flag} {file} is encrypted; the server needs it without a passphrase.")
