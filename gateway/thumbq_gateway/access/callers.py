"""Whose keys are valid, as the server says: asked for a key that is new, and twice a second for those in use."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import grpc

from thumbq.v1.admin_pb2 import AuditEntry, CheckKeysRequest, CheckKeysResponse, KeyFingerprint
from thumbq.v1.admin_pb2 import Role as RoleMessage
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_gateway.access.lookups import MOST, Lookups
from thumbq_gateway.access.noted import Noted
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_runtime.access.api_keys import Fingerprint
from thumbq_runtime.access.roles import KEY_ROLES, Role
from thumbq_runtime.access.tickets import Ticket, key_id_of, read

log = LimitedLog()

_INTERVAL = 0.5  # seconds
_TIMEOUT = 2.0  # seconds
_IN_USE = 30.0  # seconds for which a key is looked after since its last use
_ROLES = {RoleMessage.Value(f"ROLE_{role.name}"): role for role in KEY_ROLES}
# What a gateway without the server's secret gets, the last when it asks again and again.
_STRANGER = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_NO_SECRET = "The server does not know this gateway: both need the same THUMBQ_GATEWAY_SECRET."  # noqa: S105


class Unprotected(Exception):
    """The gateway would serve other machines, and there is no key yet."""


@dataclass(slots=True)
class _Known:
    """What the server has said of a key; None when it is not valid."""

    role: Role | None
    used: float


class Callers:
    """Knows the roles of the keys that are in use. Without an answer, the last one counts: the server may be away."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        on_answer: Callable[[str | None], None],
        refused_claims: MutableMapping[str, int],
        *,
        always_needed: bool,
    ) -> None:
        """`on_answer` is told after each look whether the server answered: the problem, or None.

        Each look takes along what is in `refused_claims`. `always_needed`: callers without a key are strangers,
        whatever the server says.
        """
        self._refused_claims = refused_claims
        self.on_change: Callable[[], None] = lambda: None
        self._on_answer = on_answer
        self._server = AdminServiceStub(channel)
        self.always_needed = always_needed
        self._needed: bool | None = None
        # Keys that were valid when they were looked up. There are as many as the server lets be made.
        self._known: dict[Fingerprint, _Known] = {}
        # Keys that were not. They are forgotten at the next look, since they may be made meanwhile.
        self._wrong: set[Fingerprint] = set()
        self._lookups = Lookups(self._ask)
        self.noted = Noted()
        self._ticket_keys: dict[str, bytes] = {}
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")

    async def role_of(self, fingerprint: Fingerprint | None) -> Role | None:
        """Return the role of a key, or None for one that is not valid. Every caller is an admin while no key is needed.

        Raises AioRpcError and Refusal while the server has never said.
        """
        if self._needed is None:
            await self._ask([])
        if not self._needed and not self.always_needed:
            return Role.ADMIN
        if fingerprint is None:
            return None
        known = self._known.get(fingerprint)
        if known is None:
            return await self._look_up(fingerprint)
        known.used = time.monotonic()
        return known.role

    async def _look_up(self, fingerprint: Fingerprint) -> Role | None:
        if fingerprint in self._wrong:
            return None
        role = await self._lookups.role_of(fingerprint)
        if role:
            self._known.setdefault(fingerprint, _Known(role, time.monotonic()))
        elif len(self._wrong) < MOST:
            self._wrong.add(fingerprint)
        return role

    async def ticket(self, text: str) -> Ticket | None:
        """Return what a ticket says, or None for one that is not valid. Raises AioRpcError and Refusal."""
        key_id = key_id_of(text)
        if key_id is not None and key_id not in self._ticket_keys:
            await self._ask_for_ticket_keys()
        return read(text, self._ticket_keys.get)

    async def _ask_for_ticket_keys(self) -> None:
        """Ask once for all that wait: anyone may show tickets of keys that do not exist."""
        came = time.monotonic()
        async with self._asking:
            if self._asked_at < came:
                began = time.monotonic()
                await self._ask([])
                self._asked_at = began

    async def refuse_strangers(self) -> None:
        """Refuse to start when keys are needed and there is none. Raises Unprotected.

        A server that does not answer now is no reason: until it says whose keys are valid, no caller is admitted.
        """
        if self.always_needed:
            with contextlib.suppress(grpc.aio.AioRpcError, Refusal):
                await self._ask([])
            if self._needed is False:
                raise Unprotected(
                    "refusing to serve other machines before there is an API key: make one with `thumbq keys create"
                    " --role admin --name NAME`, or set THUMBQ_INSECURE=1 (--insecure) if the network is trusted"
                )

    @property
    def are_all_admitted(self) -> bool:
        """Whether callers need to show nothing, as far as the server has said."""
        return self._needed is False and not self.always_needed

    def still_admits(self, fingerprint: Fingerprint | None) -> bool:
        """Return whether a request that has begun may go on."""
        if self.are_all_admitted:
            return True
        known = fingerprint and self._known.get(fingerprint)
        if not known:
            return False
        known.used = time.monotonic()
        return known.role is not None

    async def run(self) -> NoReturn:
        """Ask for the keys in use regularly, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self._look()

    async def _look(self) -> None:
        since = time.monotonic() - _IN_USE
        self._known = {one: known for one, known in self._known.items() if known.role and known.used >= since}
        asked = list(self._known)
        self._wrong.clear()
        noted = self.noted.take()
        refused_claims = dict(self._refused_claims)
        self._refused_claims.clear()
        try:
            roles = await self._ask(asked, noted, refused_claims)
        except grpc.aio.AioRpcError as error:
            self.noted.give_back(noted)
            self._on_answer(f"{error.code().name}: {error.details()}")
            return
        except Refusal:
            self._on_answer(_NO_SECRET)
            log.failure("gateway.unknown", hint=_NO_SECRET)
            return
        for one, role in zip(asked, roles, strict=True):
            if known := self._known.get(one):
                known.role = role
        self._on_answer(None)
        self.on_change()

    async def _ask(
        self,
        fingerprints: Sequence[Fingerprint],
        noted: Sequence[AuditEntry] = (),
        refused_claims: Mapping[str, int] | None = None,
    ) -> list[Role | None]:
        """Return the roles of the keys. Raises AioRpcError, and Refusal when the server does not know this gateway."""
        shown = [KeyFingerprint(prefix=one.prefix, digest=one.digest) for one in fingerprints]
        try:
            request = CheckKeysRequest(keys=shown, noted=noted, refused_claims=refused_claims)
            answer = await self._server.CheckKeys(request, timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # a server that knows no keys yet
                answer = CheckKeysResponse(roles=[RoleMessage.ROLE_UNSPECIFIED] * len(shown))
            elif error.code() in _STRANGER:
                self._needed = True
                raise Refusal(grpc.StatusCode.UNAVAILABLE, _NO_SECRET) from None
            else:
                raise
        self._needed = answer.keys_needed
        self._ticket_keys = {key.id: key.public_key for key in answer.ticket_keys}
        return [_ROLES.get(role) for role in answer.roles]
