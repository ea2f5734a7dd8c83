"""Tickets: short-lived, signed by a server, checked by every gateway, and good for reading thumbnails only.

A ticket is text that fits into an address: `tt1.ID.ISSUED.LIFE.KEY.MODELS.SIGNATURE`. ID names the key that has signed
it, ISSUED and LIFE are seconds, KEY is the fingerprint of the API key that it was made with, and MODELS are ids or
`all`. The signature is Ed25519 over everything before it. There is no other algorithm, and the text names none.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from thumbq_runtime.access.api_keys import PREFIX_LENGTH, Fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BEGIN = "tt1."
_SIGNED_FOR = b"thumbq ticket "
_ALL = "all"
_FORM = re.compile(
    r"tt1\.(?P<id>[0-9a-f]{8})\.(?P<issued>[0-9]{1,12})\.(?P<life>[0-9]{1,6})"
    r"\.(?P<key>-|[0-9a-f]{8}[A-Za-z0-9_-]{43})\.(?P<models>all|[0-9]{1,19}(?:~[0-9]{1,19})*)"
    r"\.(?P<signature>[A-Za-z0-9_-]{86})"
)
_LONGEST = 8_000  # characters
_CLOCK_DIFFERENCE = 30  # seconds that the clock of a server may be ahead of a gateway's


class Ticket(NamedTuple):
    """What a ticket says."""

    key: Fingerprint | None  # with which it was made; None where no keys are needed
    model_ids: frozenset[int] | None  # None: all
    issued_at: int
    life: int  # seconds

    @property
    def ends_at(self) -> int:
        """When it ends, in seconds since 1970."""
        return self.issued_at + self.life

    def covers(self, model_id: int) -> bool:
        """Return whether it is for this model too."""
        return self.model_ids is None or model_id in self.model_ids


def is_ticket(text: str) -> bool:
    """Return whether a text claims to be a ticket."""
    return text.startswith(_BEGIN)


def sign(ticket: Ticket, key_id: str, private_key: "Ed25519PrivateKey") -> str:
    """Return a ticket as text."""
    key = f"{ticket.key.prefix}{_encoded(ticket.key.digest)}" if ticket.key else "-"
    models = _ALL if ticket.model_ids is None else "~".join(map(str, sorted(ticket.model_ids)))
    stated = f"{_BEGIN}{key_id}.{ticket.issued_at}.{ticket.life}.{key}.{models}"
    return f"{stated}.{_encoded(private_key.sign(_SIGNED_FOR + stated.encode()))}"


def key_id_of(text: str) -> str | None:
    """Return which key has signed a ticket, or None for a text that is no ticket."""
    form = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    return form["id"] if form else None


def read(text: str, public_key: Callable[[str], bytes | None], now: Callable[[], float] = time.time) -> Ticket | None:
    """Return what a ticket says; None when it is not signed with a key that `public_key` finds by its id, or over."""
    form = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    key = form and public_key(form["id"])
    if not form or not key:
        return None
    # loaded here, since it takes a while and few pages have tickets
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(
            _decoded(form["signature"]), _SIGNED_FOR + text.rpartition(".")[0].encode()
        )
    except (InvalidSignature, binascii.Error):
        return None
    ticket = Ticket(_fingerprint(form["key"]), _models(form["models"]), int(form["issued"]), int(form["life"]))
    return ticket if ticket.issued_at - _CLOCK_DIFFERENCE <= now() < ticket.ends_at else None


def _fingerprint(text: str) -> Fingerprint | None:
    return None if text == "-" else Fingerprint(text[:PREFIX_LENGTH], _decoded(text[PREFIX_LENGTH:]))


def _models(text: str) -> frozenset[int] | None:
    return None if text == _ALL else frozenset(map(int, text.split("~")))


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
