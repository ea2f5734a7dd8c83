"""Connection tokens: signed, so that no gateway has to remember them.

A token names a connection to come, the time, and the gateway that made it. Every gateway with the same secret accepts
it, so a WebSocket may open at any of them. The other transports are several requests, which must meet at one gateway:
the others pass them on to the one that the token names.
"""

import base64
import hashlib
import hmac
import secrets
import time
from typing import NamedTuple

from thumbq_runtime.access.api_keys import PREFIX_LENGTH, Fingerprint

_LIFE = 60.0  # seconds in which a connection must begin
_CLOCK_DIFFERENCE = 30.0  # seconds that the clocks of two gateways may be apart
_SIGNATURE_BYTES = 18


class Token(NamedTuple):
    """The content of a token."""

    connection_id: str
    home: str  # where the gateway's own door is; empty: there is only one gateway
    issued_at: float
    key: Fingerprint | None  # with which the connection was negotiated

    @property
    def may_begin(self) -> bool:
        """Whether it is fresh enough for a new connection."""
        return -_CLOCK_DIFFERENCE <= time.time() - self.issued_at <= _LIFE


class Tokens:
    """Signs and reads the tokens of one hub."""

    def __init__(self, secret: bytes, hub: str) -> None:
        """A token of another hub is not accepted."""
        self._key = hmac.digest(secret, b"thumbq hub " + hub.encode(), hashlib.sha256)

    def issue(self, home: str, key: Fingerprint | None = None) -> tuple[str, str]:
        """Return a new connection id, which is public, and its token, which is secret."""
        connection_id = secrets.token_urlsafe(16)
        stated = ".".join([connection_id, f"{int(time.time()):x}", _encoded(home.encode()), _key_as_text(key)])
        return connection_id, f"{stated}.{self._signature(stated)}"

    def read(self, text: str) -> Token | None:
        """Return the content of a token; None when the signature is wrong."""
        stated, _, signature = text.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(stated).encode()):
            return None
        connection_id, issued_at, home, key = stated.split(".")
        return Token(connection_id, _decoded(home).decode(), float(int(issued_at, 16)), _key_from_text(key))

    def _signature(self, stated: str) -> str:
        return _encoded(hmac.digest(self._key, stated.encode(), hashlib.sha256)[:_SIGNATURE_BYTES])


def _key_as_text(key: Fingerprint | None) -> str:
    return f"{key.prefix}{_encoded(key.digest)}" if key else ""


def _key_from_text(text: str) -> Fingerprint | None:
    return Fingerprint(text[:PREFIX_LENGTH], _decoded(text[PREFIX_LENGTH:])) if text else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
