"""Hosts with PostgreSQL as a drill sees them: one takes writes."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from tests.system.chaos.world import Postgres
from tests.system.failover.faults import Fault


class Node(Protocol):
    """One of the hosts."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dsn(self) -> str:
        """The address of its PostgreSQL past all others."""


N = TypeVar("N", bound=Node)


class Hosts(Postgres, Protocol, Generic[N]):
    """The hosts, and the faults that they have."""

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults that they can have."""

    @property
    def nodes(self) -> Sequence[N]:
        """All hosts."""

    async def whole(self) -> N:
        """Wait until all standbys follow the primary. Return the primary."""

    async def strike(self, fault: Fault, node: N) -> None:
        """Let the primary fail."""

    async def repair(self, fault: Fault, node: N) -> None:
        """Put it right again, as far as that is done."""
