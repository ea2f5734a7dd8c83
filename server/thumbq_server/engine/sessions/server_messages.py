"""What servers tell each other: small messages on PostgreSQL's channel, one word for the kind with its version.

A message is `KIND/VERSION SESSION DETAIL`, for example `session/1 12 8c0f…`. A server ignores messages that it does not
know, so servers of different versions can work side by side. Like all of NOTIFY they are hints: a lost one costs time,
never a job.
"""

from typing import NamedTuple

from thumbq_server.domain.job import Token
from thumbq_server.domain.refusals import Invalid, StaleLease
from thumbq_server.domain.requests import parse_token

_OPENED = "session/1"
_CANCELLED = "cancelled/1"


class SessionOpened(NamedTuple):
    """A worker's session is open on a new stream; an older stream of it has to end."""

    session: int
    stream_id: str


class LeaseCancelled(NamedTuple):
    """A job was cancelled that the session's worker has a lease on."""

    session: int
    token: Token


ServerMessage = SessionOpened | LeaseCancelled


def encode(message: ServerMessage) -> str:
    """Return the payload for the channel."""
    match message:
        case SessionOpened(session, stream_id):
            return f"{_OPENED} {session} {stream_id}"
        case LeaseCancelled(session, token):
            return f"{_CANCELLED} {session} {token.job_id}-{token.lease_seq}"


def parse(payload: str) -> ServerMessage | None:
    """Return the message, or None for an unknown kind or version and for anything malformed."""
    kind, *words = payload.split(" ")
    if len(words) != 2 or not (words[0].isascii() and words[0].isdigit()):
        return None
    session, detail = int(words[0]), words[1]
    if kind == _OPENED and detail:
        return SessionOpened(session, detail)
    if kind == _CANCELLED:
        try:
            return LeaseCancelled(session, parse_token(detail, ""))
        except (Invalid, StaleLease):
            return None
    return None
