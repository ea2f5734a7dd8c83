"""What the client of a hub may see, and by whose key."""

from dataclasses import dataclass

from aiohttp import web

from thumbq_gateway.access.door import KEY
from thumbq_gateway.http.requests.tickets import TICKET
from thumbq_runtime.access.api_keys import Fingerprint


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one request. Those of the first one are the rights of its connection."""

    # That of the request, or the one with which its ticket was made.
    key: Fingerprint | None
    # None for all.
    models: frozenset[int] | None

    def include(self, others: "Rights") -> bool:
        """Return whether whoever has these may read what is for the others: by the same key, and no fewer models.

        Where no key is needed, one transport of a client may show a key and another none.
        """
        is_by_key = others.key in {None, self.key}
        return is_by_key and (self.models is None or (others.models is not None and self.models >= others.models))


def rights_of(request: web.Request) -> Rights:
    """Return the rights of a request."""
    if ticket := request.get(TICKET):
        return Rights(ticket.key, ticket.model_ids)
    return Rights(request.get(KEY), None)
