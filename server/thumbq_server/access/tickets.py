"""Makes tickets, with signing keys that all servers share and renew by themselves."""

import secrets
import time
from collections.abc import Sequence

from thumbq_runtime.access.api_keys import Fingerprint
from thumbq_runtime.access.tickets import Ticket, public_key_of, sign
from thumbq_server.access.keyring import Keyring
from thumbq_server.domain.access.tickets import KEY_LIFE, KEY_RETENTION, SigningKey
from thumbq_server.domain.refusals import WrongState
from thumbq_server.storage.access.signing_keys import create_signing_key, list_signing_keys, prune_signing_keys
from thumbq_server.storage.postgres.database import Database

_ID_BYTES = 4
_SEED_BYTES = 32
# Every server looks at the keys each five seconds, and every gateway asks its server twice a second.
_KNOWN_EVERYWHERE = 15.0  # seconds


class Tickets:
    """Signs with the newest key that every gateway knows by now. Methods that reach PostgreSQL raise Unavailable."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._keys: Sequence[SigningKey] = ()

    async def look(self) -> None:
        """Read the keys, and make one where there is none."""
        self._keys = await list_signing_keys(self._database, KEY_LIFE)
        if not self._keys:
            await self._make_key()

    async def __call__(self) -> int:
        """Read the keys. Once the newest is a day old, make another, and delete those whose tickets are over."""
        await self.look()
        if not self._keys[0].is_worn:
            return 0
        await self._make_key()
        return await prune_signing_keys(self._database, KEY_RETENTION)

    def public_keys(self) -> list[tuple[str, bytes]]:
        """Return what checks the signatures of tickets: ids and public keys."""
        return [(key.id, public_key_of(key.seed)) for key in self._keys]

    def create(self, prefix: str, model_ids: frozenset[int] | None, life: int) -> tuple[str, int]:
        """Return a ticket that ends with the key of this prefix, and when it ends. Raises WrongState."""
        fingerprint = self._fingerprint(prefix)
        ticket = Ticket(fingerprint, model_ids, int(time.time()), life)
        key = self._signing_key()
        return sign(ticket, key.id, key.seed), ticket.ends_at

    def _fingerprint(self, prefix: str) -> Fingerprint | None:
        fingerprint = self._keyring.fingerprint_of(prefix) if prefix else None
        if fingerprint is None and self._keyring.needed:
            raise WrongState("A ticket ends with the API key that it is made with, so it takes one to make a ticket.")
        return fingerprint

    def _signing_key(self) -> SigningKey:
        if not self._keys:
            raise WrongState("There is no key that signs tickets yet. Try again.")
        known_since = time.time() - _KNOWN_EVERYWHERE
        return next((key for key in self._keys if key.created_at.timestamp() < known_since), self._keys[-1])

    async def _make_key(self) -> None:
        await create_signing_key(self._database, secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SEED_BYTES))
        self._keys = await list_signing_keys(self._database, KEY_LIFE)
