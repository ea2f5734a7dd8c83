"""What a worker tells of the jobs that it has: the entries of a Progress message."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from thumbq.v1 import queue_pb2
from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.progress import Progress, check_progress
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_at_most
from thumbq_server.rpc.codec.results import read_tokens


class Told(NamedTuple):
    """An entry without its lease."""

    fraction: float
    text: str


def read(message: queue_pb2.StreamJobsRequest.Progress) -> Mapping[str, Told]:
    """Return the entries by their lease tokens, the last one of each. Raises Invalid: there are too many.

    An entry whose fraction is no number is left out.
    """
    check_at_most(message.entries, "entries")
    told: dict[str, Told] = {}
    for entry in message.entries:
        with suppress(Invalid):
            told[entry.lease_token] = Told(*check_progress(entry.fraction, entry.text))
    return told


async def take(
    told: Mapping[str, Told], history: str, note: Callable[[Sequence[Progress]], Awaitable[None]]
) -> list[str]:
    """Have `note` note the entries. Return the tokens that no lease can have."""
    unknown: list[str] = []
    async for piece in pieces(list(told)):
        known, others = read_tokens(piece, history)
        unknown += others
        await note([Progress(token, *told[text]) for text, token in known])
    return unknown
