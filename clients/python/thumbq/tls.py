"""TLS of a client: whom it trusts, what it shows, and why a connection fails."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import grpc

from thumbq.log_events import event

_logger = logging.getLogger("thumbq")

SECURE = "grpcs://"
PLAIN = "grpc://"
# Ours, and those of gRPC's resolvers.
_SCHEMES = {"grpcs", "grpc", "dns", "unix", "unix-abstract", "vsock", "xds"}
_READ_BY_OTHERS = 0o007
# What gRPC writes of a failed handshake, and what it means. The first that is found counts.
_REASONS = (
    ("certificate has expired", "its certificate has expired"),
    ("certificate is not yet valid", "its certificate is not valid yet, or a clock is wrong"),
    ("Hostname Verification Check failed", "its certificate is for another name than the one in the address"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate comes from an authority that is not trusted here (THUMBQ_CA)"),
    ("WRONG_VERSION_NUMBER", "it has no TLS: leave grpcs:// out of the address"),
    ("UNSUPPORTED_PROTOCOL", "it speaks no version of TLS that is still safe"),
)
# Which of them gRPC says depends on what had arrived when the server gave up.
_CLOSED = ("Socket closed", "Connection reset", "Broken pipe", "End of TCP stream")
_CLOSED_PLAIN = "it closes the connection before it answers; if it has TLS, its address begins with grpcs://"
_CLOSED_SECURE = "it closes the connection; it may take only clients with a certificate (THUMBQ_CERT, THUMBQ_KEY)"


class UnusableCertificate(ValueError):
    """Says in one sentence why a file of TLS cannot be used."""


class UnusableAddress(ValueError):
    """Says in one sentence why an address is none of the gRPC API."""


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the authorities that are trusted, and what the client shows when a server asks.

    Without authorities, those that gRPC or the system brings are trusted.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Tls:
        """Return what THUMBQ_CA, THUMBQ_CERT and THUMBQ_KEY name."""
        ca, cert, key = (environment.get(name) for name in ("THUMBQ_CA", "THUMBQ_CERT", "THUMBQ_KEY"))
        return cls(*(Path(name) if name else None for name in (ca, cert, key)))

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel needs, read from the files now. Raises UnusableCertificate."""
        try:
            self.context()
            read = [path.read_bytes() if path else None for path in (self.ca, self.key, self.cert)]
        except OSError as problem:
            raise UnusableCertificate(f"{problem.filename or self.cert} cannot be read: {problem.strerror}") from None
        return grpc.ssl_channel_credentials(*read)

    def context(self) -> ssl.SSLContext:
        """Return a context for HTTPS, which trusts the system's authorities as well. Raises UnusableCertificate."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca:
            _check_readable("THUMBQ_CA", self.ca)
            try:
                context.load_verify_locations(self.ca)
            except (ssl.SSLError, OSError):
                raise UnusableCertificate(f"THUMBQ_CA names {self.ca}, which holds no certificate in PEM") from None
        if (self.cert is None) != (self.key is None):
            raise UnusableCertificate("THUMBQ_CERT and THUMBQ_KEY belong together: give both, or neither")
        if self.cert and self.key:
            self._load_own(context, self.cert, self.key)
        return context

    def __bool__(self) -> bool:
        return any((self.ca, self.cert, self.key))

    @staticmethod
    def _load_own(context: ssl.SSLContext, cert: Path, key: Path) -> None:
        _check_readable("THUMBQ_CERT", cert)
        _check_readable("THUMBQ_KEY", key)
        if key.stat().st_mode & _READ_BY_OTHERS:
            _logger.warning(
                "Other users of this machine can read the key %s: chmod 600", key, extra=event("tls.key_exposed")
            )

        def refuse_password() -> NoReturn:
            raise UnusableCertificate(f"THUMBQ_KEY names {key}, which has a password: thumbq needs one without")

        try:
            context.load_cert_chain(cert, key, password=refuse_password)
        except ssl.SSLError as problem:
            if problem.reason == "KEY_VALUES_MISMATCH":
                sentence = f"THUMBQ_KEY names {key}, which does not belong to the certificate {cert}"
            else:
                sentence = f"THUMBQ_CERT names {cert} and THUMBQ_KEY {key}, which are no certificate and key in PEM"
            raise UnusableCertificate(sentence) from None


def channel_to(target: str, options: Sequence[tuple[str, Any]], tls: Tls | None = None) -> grpc.aio.Channel:
    """Open a channel: with TLS to `grpcs://host:port`, without to `host:port` or `unix:path`.

    The files in the environment count when `tls` is not given. Raises UnusableCertificate and UnusableAddress.
    """
    check_address(target)
    if not target.startswith(SECURE):
        return grpc.aio.insecure_channel(bare(target), options=options)
    chosen = Tls.from_environment() if tls is None else tls
    return grpc.aio.secure_channel(bare(target), chosen.credentials(), options=options)


def check_address(target: str) -> None:
    """Raise UnusableAddress for the address of something else, such as that of the page, or tcp:// of Kubernetes."""
    scheme, separator, _ = target.partition("://")
    if not target.strip():
        raise UnusableAddress("The address of the server is empty: it is host:port, or grpcs://host:port")
    if separator and scheme not in _SCHEMES:
        what = "an address of HTTP" if scheme in {"http", "https"} else "no address of gRPC"
        raise UnusableAddress(f"{target} is {what}: that of the gRPC API is host:port, or grpcs://host:port")


def bare(target: str) -> str:
    """Return a target as gRPC knows it."""
    return target.removeprefix(SECURE).removeprefix(PLAIN)


def signature(tls: Tls | None, *others: str | None) -> list[tuple[int, ...]]:
    """Return what changes when a file of TLS or another file does; those in the environment count without `tls`."""
    chosen = Tls.from_environment() if tls is None else tls
    return [_state(Path(path)) for path in (chosen.ca, chosen.cert, chosen.key, *others) if path]


def expiry(target: str, timeout: float) -> datetime:
    """Return when the certificate ends that the server at `grpcs://host:port` shows now. Raises OSError, ValueError."""
    parts = urlsplit(f"//{bare(target)}")
    context = Tls.from_environment().context()
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((parts.hostname, parts.port or 443), timeout) as connection,
        context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
    ):
        shown = secured.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def explain(details: str, target: str) -> str:
    """Return why a connection failed, or "" when TLS is not the reason."""
    for words, reason in _REASONS:
        if words in details:
            return reason
    if "failed to connect" in details and any(words in details for words in _CLOSED):
        return _CLOSED_SECURE if target.startswith(SECURE) else _CLOSED_PLAIN
    return ""


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check_readable(name: str, path: Path) -> None:
    try:
        # Reading a pipe would wait for ever, or leave nothing for the next reader.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableCertificate(f"{name} names {path}, which is no regular file")
        path.open("rb").close()
    except OSError as problem:
        raise UnusableCertificate(f"{name} names {path}, which cannot be read: {problem.strerror}") from None
