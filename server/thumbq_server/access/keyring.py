"""The API keys, in the memory of each server: looked at every second, and at once when a server tells of a change."""

import asyncio
import contextlib
import hmac
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, NoReturn

from thumbq_runtime.access.api_keys import Fingerprint, fingerprint_of, is_prefix, make_key
from thumbq_runtime.access.roles import READERS, Role
from thumbq_server.domain.access.keys import MOST_KEYS, KeyRecord, NoSuchKey, check_key_life, check_key_name
from thumbq_server.domain.refusals import WrongState
from thumbq_server.engine.outage import Outage, Unavailable
from thumbq_server.engine.wakeup import WakeUp
from thumbq_server.storage.access import keys as storage
from thumbq_server.storage.postgres.database import Database

_LOOK_SECONDS = 1.0


class Caller(NamedTuple):
    """Who calls. `prefix` names its key, and is empty for a gateway and for callers without a key.

    `certificate` is the name in the certificate of a caller that has shown no key.
    """

    role: Role
    prefix: str = ""
    certificate: str = ""


NOBODY = Caller(Role.NOBODY)
GATEWAY = Caller(Role.GATEWAY)


class Keyring:
    """Knows the keys, and makes and ends them. Methods that reach PostgreSQL raise Unavailable."""

    def __init__(self, database: Database, gateway_secret: str | None, *, always_needed: bool = False) -> None:
        """`always_needed`: callers without a key are strangers even while there is no key."""
        self.on_change: Callable[[], None] = lambda: None
        self._database = database
        self._gateway_secret = (gateway_secret or "").encode()
        self._always_needed = always_needed
        self._exist = False
        self._valid: dict[str, KeyRecord] = {}
        # When keys end, on a clock that nobody sets: that of this machine may jump.
        self._ends: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._one_look = asyncio.Lock()
        self._wake_up = WakeUp(_LOOK_SECONDS)

    @property
    def needed(self) -> bool:
        """Whether every call needs a key."""
        return self._exist or self._always_needed

    @property
    def exist(self) -> bool:
        """Whether a key was ever made."""
        return self._exist

    def wake(self) -> None:
        """Look at the keys now."""
        self._wake_up.set()

    async def run(self) -> NoReturn:
        """Look at the keys regularly, until cancelled. While PostgreSQL is away, those of the last look count."""
        outage = Outage("look at keys")
        while True:
            try:
                await self.look()
                outage.ended()
            except Unavailable as error:
                outage.began(error)
            self.on_change()  # a key may have expired meanwhile
            await self._wake_up.wait()

    async def look(self) -> None:
        """Read the keys."""
        async with self._one_look:  # an earlier look must not undo a later one
            asked_at = time.monotonic()
            records = await storage.list_keys(self._database)
            self._exist = self._exist or bool(records)
            self._ends = {
                record.prefix: asked_at + record.seconds_left for record in records if record.seconds_left is not None
            }
            self._valid = {record.prefix: record for record in records if record.revoked_at is None}
        self.on_change()

    def caller_with(self, key: str) -> Caller | None:
        """Return whose key this is, or None for one that is not valid."""
        if self._gateway_secret and hmac.compare_digest(key.encode(errors="replace"), self._gateway_secret):
            return GATEWAY
        fingerprint = fingerprint_of(key)
        role = fingerprint and self.role_of(fingerprint)
        return Caller(role, fingerprint.prefix) if fingerprint and role else None

    def may_read(self, key: str | None) -> bool:
        """Return whether a caller that shows this key, or none, may read. Other threads may ask."""
        if not self.needed:
            return True
        caller = self.caller_with(key) if key else None
        return caller is not None and caller.role in READERS

    def role_of(self, fingerprint: Fingerprint) -> Role | None:
        """Return the role of a key, or None for one that is not valid, and note that it is used."""
        record = self._valid.get(fingerprint.prefix)
        if record is None or not hmac.compare_digest(record.digest, fingerprint.digest) or self._has_expired(record):
            return None
        self._used[record.prefix] = time.monotonic()
        return Role(record.role)

    def name_of(self, prefix: str) -> str:
        """Return the name of the valid key of this prefix, or nothing."""
        record = self._valid.get(prefix)
        return record.name if record else ""

    def fingerprint_of(self, prefix: str) -> Fingerprint | None:
        """Return the fingerprint of the valid key of this prefix, or None."""
        record = self._valid.get(prefix)
        return Fingerprint(prefix, record.digest) if record and not self._has_expired(record) else None

    def still_admits(self, caller: Caller) -> bool:
        """Return whether a call that has begun may go on."""
        if caller.prefix:
            record = self._valid.get(caller.prefix)
            return record is not None and not self._has_expired(record)
        return caller is GATEWAY or bool(caller.certificate) or not self.needed

    async def create(self, role: Role, name: str, life: timedelta | None) -> tuple[KeyRecord, str]:
        """Make a key. Return it as the database knows it, and its text. Raises Refused."""
        name, life = check_key_name(name), check_key_life(life)
        if role is not Role.ADMIN and not self._exist:
            raise WrongState("The first key must be an admin's: from then on, every call needs a key.")
        if len(self._valid) >= MOST_KEYS:
            raise WrongState(f"There are {MOST_KEYS} keys, and no more can be made. Revoke some first.")
        key = make_key()
        fingerprint = fingerprint_of(key)
        assert fingerprint
        record = await storage.create_key(self._database, *fingerprint, role, name, life)
        await self._look_again()
        return record, key

    async def list(self) -> list[KeyRecord]:
        """Return all keys, the oldest first."""
        return await storage.list_keys(self._database)

    async def revoke(self, prefix: str) -> KeyRecord:
        """End a key. Raises NoSuchKey."""
        # A text that is no prefix may hold what PostgreSQL refuses.
        record = await storage.revoke_key(self._database, prefix) if is_prefix(prefix) else None
        if record is None:
            raise NoSuchKey
        await self._look_again()
        return record

    async def __call__(self) -> int:
        """Record when keys were used since the last time."""
        used, self._used = self._used, {}
        if used:
            now = time.monotonic()
            await storage.note_keys_used(self._database, list(used), [now - moment for moment in used.values()])
        return 0

    async def _look_again(self) -> None:
        # The change is committed: an outage now must not make its caller believe otherwise.
        with contextlib.suppress(Unavailable):
            await self.look()

    def _has_expired(self, record: KeyRecord) -> bool:
        return self._ends.get(record.prefix, math.inf) <= time.monotonic()
