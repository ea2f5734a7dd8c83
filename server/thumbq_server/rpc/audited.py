"""Methods of operators that leave a row in the audit log."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString

from thumbq_runtime.access.api_keys import without_secrets
from thumbq_server.access.audit import Audit
from thumbq_server.access.door import ORIGIN
from thumbq_server.domain.access.audit import MAX_DETAIL


class _Audited(Protocol):
    audit: Audit


Service = TypeVar("Service", bound=_Audited)
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")


def audited(
    method: Callable[[Service, Request, Any], Awaitable[Response]],
) -> Callable[[Service, Request, Any], Awaitable[Response]]:
    """Record each call of a method, with its request."""

    @functools.wraps(method)
    async def call(self: Service, request: Request, context: Any) -> Response:
        async with self.audit.action(ORIGIN.get(), method.__name__, _detail(request)) as name:
            response = await method(self, request, context)
            key = getattr(response, "key", None)
            if key is not None:
                name(key.prefix)
            return response

    return call


def _detail(request: Message) -> str:
    """Return the beginning of a request as text. Only what may stand in it is printed, since the loop waits for it."""
    beginning = type(request)()
    beginning.CopyFrom(request)
    for field, values in beginning.ListFields():
        if field.is_repeated:
            del values[MAX_DETAIL:]
    # Who revokes a key may have given all of it.
    return without_secrets(MessageToString(beginning, as_one_line=True))[:MAX_DETAIL]
