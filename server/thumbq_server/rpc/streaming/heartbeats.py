"""The tokens of a heartbeat: those of leases, and those that no lease can have."""

from collections.abc import Awaitable, Callable, Sequence

from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.job import Token
from thumbq_server.rpc.codec.results import read_tokens


async def take(
    lease_tokens: Sequence[str], history: str, extend: Callable[[Sequence[Token]], Awaitable[None]]
) -> list[str]:
    """Have `extend` extend the leases of a heartbeat. Return the tokens that no lease can have."""
    unknown: list[str] = []
    async for piece in pieces(lease_tokens):
        known, others = read_tokens(piece, history)
        unknown += others
        await extend([token for _, token in known])
    return unknown
