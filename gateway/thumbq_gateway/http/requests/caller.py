"""The caller of the request that the present task answers: the server is told of it where it asks."""

from contextvars import ContextVar

from aiohttp import web

from thumbq_runtime.access.on_behalf import Origin, told
from thumbq_runtime.limits.callers import counted_as

_CALLER: ContextVar[Origin] = ContextVar("caller")
# Set on a request on which callers must show a key, a ticket or a certificate.
GUARDED = web.RequestKey("guarded", bool)


def note_caller(origin: Origin) -> None:
    """Remember who makes the present request."""
    _CALLER.set(origin)


def metadata_of_caller() -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that is made for the present request."""
    return told(_CALLER.get(Origin()))


def name_of_caller() -> str:
    """Return the name under which the caller of the present request is counted; "" when it is not known."""
    origin = _CALLER.get(Origin())
    return counted_as(origin.prefix, origin.address)
