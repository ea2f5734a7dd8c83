"""The jobs that a stream was sent, until they are known to have arrived. Synchronous, without I/O."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.job import Token


class Deliveries:
    """The messages with jobs that a worker was sent, numbered from 1, until it confirms them.

    A message is forgotten after `lease` seconds. By then each of its leases was named, was ended by a result, or has
    run out. A worker that reports every job needs to confirm none.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._count = 0
        self._unconfirmed: OrderedDict[int, tuple[float, Claimed]] = OrderedDict()
        # The tokens of unconfirmed messages, as soon as a heartbeat asks for them.
        self._tokens: dict[int, frozenset[Token]] = {}
        # Tokens in unconfirmed messages that a heartbeat has confirmed.
        self._named: set[Token] = set()

    def add(self, jobs: Claimed) -> int:
        """Note a message with these jobs. Return its number."""
        now = self._forget_old()
        self._count += 1
        self._unconfirmed[self._count] = now, jobs
        return self._count

    def confirm(self, number: int) -> None:
        """Note that this message arrived, and so all before it."""
        while self._unconfirmed and next(iter(self._unconfirmed)) <= number:
            self._forget_first()

    def confirm_jobs(self, tokens: Collection[Token]) -> None:
        """Note that these jobs arrived: a heartbeat names them."""
        self._forget_old()
        named = frozenset(tokens)
        for number, (_, jobs) in self._unconfirmed.items():
            if number not in self._tokens:
                self._tokens[number] = frozenset(jobs.tokens())
            self._named |= self._tokens[number] & named

    def unreceived(self) -> list[Token]:
        """Return the leases of all jobs that are not known to have arrived."""
        sent = self._unconfirmed.values()
        return [token for _, jobs in sent for token in jobs.tokens() if token not in self._named]

    def _forget_old(self) -> float:
        """Forget the messages whose leases are over. Return the time."""
        now = self._clock()
        while self._unconfirmed and next(iter(self._unconfirmed.values()))[0] + self._lease <= now:
            self._forget_first()
        return now

    def _forget_first(self) -> None:
        number, _ = self._unconfirmed.popitem(last=False)
        self._named -= self._tokens.pop(number, frozenset())
