"""The jobs that a stream was sent, until they are known to have arrived. Synchronous, without I/O."""

from collections import OrderedDict
from collections.abc import Collection

from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.job import Token


class Deliveries:
    """The messages with jobs that a worker was sent, numbered from 1, until it confirms them."""

    def __init__(self) -> None:
        self._count = 0
        self._unconfirmed: OrderedDict[int, Claimed] = OrderedDict()
        # The tokens of unconfirmed messages, as soon as a heartbeat asks for them.
        self._tokens: dict[int, frozenset[Token]] = {}
        # Tokens in unconfirmed messages that a heartbeat has confirmed.
        self._named: set[Token] = set()

    def add(self, jobs: Claimed) -> int:
        """Note a message with these jobs. Return its number."""
        self._count += 1
        self._unconfirmed[self._count] = jobs
        return self._count

    def confirm(self, number: int) -> None:
        """Note that this message arrived, and so all before it."""
        while self._unconfirmed and (earliest := next(iter(self._unconfirmed))) <= number:
            del self._unconfirmed[earliest]
            self._named -= self._tokens.pop(earliest, frozenset())

    def confirm_jobs(self, tokens: Collection[Token]) -> None:
        """Note that these jobs arrived: a heartbeat names them."""
        for number, jobs in self._unconfirmed.items():
            if number not in self._tokens:
                self._tokens[number] = frozenset(jobs.tokens())
            self._named |= self._tokens[number].intersection(tokens)

    def unreceived(self) -> list[Token]:
        """Return the leases of all jobs that are not known to have arrived."""
        return [token for jobs in self._unconfirmed.values() for token in jobs.tokens() if token not in self._named]
