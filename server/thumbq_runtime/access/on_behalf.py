"""For whom a gateway calls: it tells the server in the metadata, and only a gateway is believed."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

HEADER = "thumbq-caller"


class Origin(NamedTuple):
    """Who calls, and from where. `prefix` names its API key, `certificate` is the name in its certificate.

    `stranger` is "yes" for a caller that shows neither where others need one: a job in work lets it in.
    """

    prefix: str = ""
    certificate: str = ""
    address: str = ""
    stranger: str = ""


def told(origin: Origin) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tell of a caller."""
    return ((HEADER, urlencode(origin._asdict())),)


def heard(headers: Mapping[str, object]) -> Origin | None:
    """Return the caller that metadata tell of, or None."""
    text = headers.get(HEADER)
    if not isinstance(text, str):
        return None
    fields = dict(parse_qsl(text))
    return Origin(**{name: fields.get(name, "") for name in Origin._fields})
