"""What a request with a ticket may see. Requests with a key, or where none is needed, see everything."""

from collections.abc import Iterable

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.access.tickets import Ticket, is_ticket

# The ticket with which a request was admitted.
TICKET = web.RequestKey("ticket", Ticket)
_OTHER_MODELS = "The ticket of this request is for other models."
_ALL_MODELS = "The ticket of this request is for some models only."


def ticket_in_address(request: web.Request) -> str | None:
    """Return the ticket in the address of a request that only reads, or None.

    EventSource, <img> and a WebSocket can set no header. What SignalR's clients send may also be something else.
    """
    if request.method not in {"GET", "HEAD"}:
        return None
    token = request.query.get("access_token", "")
    return request.query.get("ticket") or (token if is_ticket(token) else None)


def models_of(request: web.Request) -> frozenset[int] | None:
    """Return the models that a request may see, None for all."""
    ticket = request.get(TICKET)
    return ticket.model_ids if ticket else None


def check_models(request: web.Request, model_ids: Iterable[int]) -> None:
    """Refuse a request for models that its ticket does not name. Raises Refusal."""
    models = models_of(request)
    if models is not None and not models.issuperset(model_ids):
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, _OTHER_MODELS)


def check_sees_all(request: web.Request) -> None:
    """Refuse a request for what concerns all models, if its ticket names some. Raises Refusal."""
    if models_of(request) is not None:
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, _ALL_MODELS)
