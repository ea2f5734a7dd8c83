"""Workers that ask for jobs and are refused by a limit, as far as this server knows: jobs wait for them."""

import time

from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.waiting import RefusedClaim


class RefusedClaims:
    """The last refusal by each limit, here or at a gateway that tells its own."""

    def __init__(self) -> None:
        # When it was, and when the worker may return.
        self._last: dict[Kind, tuple[float, float]] = {}

    def note(self, limit: Kind, retry_after: float) -> None:
        """Note that a worker was refused just now, and told to return after so many seconds."""
        now = time.monotonic()
        self._last[limit] = now, now + retry_after

    def last(self) -> list[RefusedClaim]:
        """Return the last refusal by each limit, the latest first."""
        now = time.monotonic()
        refusals = sorted(self._last.items(), key=lambda refusal: refusal[1], reverse=True)
        return [RefusedClaim(limit, now - at, until - now) for limit, (at, until) in refusals]
