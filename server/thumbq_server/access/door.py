"""The door before every method: the caller shows its key, and the table of roles decides."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc

from thumbq_runtime.access.api_keys import presented_key
from thumbq_runtime.access.on_behalf import Origin, heard
from thumbq_runtime.access.roles import EVERYONE, KEEPERS, Roles, roles_of_method
from thumbq_runtime.limits.callers import site_of
from thumbq_runtime.limits.rates import Kind, Rates, TooOften
from thumbq_runtime.tls.roles import ClientRoles, name_in_call
from thumbq_server.access.audit import Audit
from thumbq_server.access.keyring import GATEWAY, NOBODY, Caller, Keyring
from thumbq_server.access.methods import Handler, serve_of, served_by
from thumbq_server.access.open_calls import ENDED, CallEnded, OpenCalls
from thumbq_server.access.retry_info import when_to_return

# Who makes the call that the present task serves.
ORIGIN: ContextVar[Origin] = ContextVar("origin")

NO_KEY = "This needs an API key: send it as `authorization: Bearer KEY` or `x-api-key: KEY` (THUMBQ_API_KEY)."
WRONG_KEY = "The API key is not valid: it is unknown, revoked or expired."


_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def caller_of_call() -> Caller:
    """Return who makes the present call, as the door has admitted it. It asks nobody where everyone may call."""
    return _caller.get()


class NotAdmitted(Exception):
    """The caller may not do this; holds the status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class Door(grpc.aio.ServerInterceptor):
    """Admits callers, and ends their calls when their key ends. The guard makes every method a coroutine."""

    def __init__(self, keyring: Keyring, client_roles: ClientRoles, audit: Audit, rates: Rates) -> None:
        """`client_roles` are those of callers that show a certificate and no key."""
        self._keyring = keyring
        self._client_roles = client_roles
        self._audit = audit
        self._rates = rates
        self._calls = OpenCalls(keyring.still_admits)
        self._guarded: dict[str, Handler] = {}
        keyring.on_change = self._calls.look

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded method, or None for one that does not exist."""
        method = handler_call_details.method
        if method not in self._guarded:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            roles = roles_of_method(method)
            if roles is None:
                raise LookupError(f"{method} has no row in the table of roles")
            if roles != EVERYONE:
                handler = served_by(self._guarded_call(method, roles, serve_of(handler)), handler)
            self._guarded[method] = handler
        return self._guarded[method]

    def _guarded_call(self, method: str, roles: Roles, serve: Any) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            try:
                caller = self._admit(roles, context)
                _caller.set(caller)  # each call has a context of its own
                if roles == KEEPERS:  # whoever makes the first key, or ends its own, still gets the answer
                    return await serve(request, context)
                with self._calls.under_way(caller):
                    return await serve(request, context)
            except NotAdmitted as refused:
                self._audit.note_refusal(ORIGIN.get(), method.rpartition("/")[2], refused.details)
                if refused.details == WRONG_KEY:
                    await self._slow_down(context)
                await context.abort(refused.code, refused.details)
            except CallEnded:
                await context.abort(*ENDED)

        return guarded

    async def _slow_down(self, context: Any) -> None:
        """End the call of an address from which wrong keys come too often, a while later."""
        try:
            await self._rates.admit((Kind.WRONG_KEYS, address_of(context.peer())))
        except TooOften as too_often:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            await context.abort(code, str(too_often), trailing_metadata=when_to_return(too_often))

    def _admit(self, roles: Roles, context: Any) -> Caller:
        """Return who calls. Raises NotAdmitted."""
        keyring = self._keyring
        headers = dict(context.invocation_metadata() or ())
        key = presented_key(headers.get)
        caller = keyring.caller_with(key) if key else self._caller_by_certificate(context)
        ORIGIN.set(_origin(caller, headers, context))
        if not keyring.needed:
            return caller or NOBODY
        if caller is None:
            _refuse(grpc.StatusCode.UNAUTHENTICATED, WRONG_KEY if key else NO_KEY)
        if caller.role not in roles:
            _refuse(grpc.StatusCode.PERMISSION_DENIED, f"A {_proof(caller)} of the role {caller.role} may not do this.")
        return caller

    def _caller_by_certificate(self, context: Any) -> Caller | None:
        if not self._client_roles.rows:
            return None
        name = name_in_call(context.auth_context())
        role = self._client_roles.role_of(name)
        return Caller(role, certificate=name) if name and role else None


def _origin(caller: Caller | None, headers: Mapping[str, object], context: Any) -> Origin:
    """Return who calls. A gateway tells for whom it calls."""
    if caller is GATEWAY and (behind := heard(headers)):
        return behind
    prefix, certificate = (caller.prefix, caller.certificate) if caller else ("", "")
    return Origin(prefix, certificate, address_of(context.peer()))


def address_of(peer: str) -> str:
    """Return the address in what gRPC calls a peer, as callers are counted by it."""
    return site_of(unquote(peer.partition(":")[2].rpartition(":")[0]))


def _proof(caller: Caller) -> str:
    return "certificate" if caller.certificate else "key"


def _refuse(code: grpc.StatusCode, details: str) -> NoReturn:
    raise NotAdmitted(code, details)
