"""Whom the present call counts for, as `limits` has found out."""

from contextvars import ContextVar

_COUNTED_FOR: ContextVar[str] = ContextVar("counted_for", default="")


def counted_for() -> str:
    """Return the caller that the call of the present task counts for; "" when it is not counted."""
    return _COUNTED_FOR.get()


def count_for(caller: str) -> None:
    """Remember it. Each call has a context of its own."""
    _COUNTED_FOR.set(caller)
