"""The common part of the hubs: methods by name, and groups of connections."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

from thumbq_gateway.signalr.protocol import Record

_MOST_GROUPS = 10_000  # of one connection: a page with a card for each model joins one a card
MOST_JOINED = 1_000_000  # of all connections together; each takes half a kilobyte


class Member(Protocol):
    """A connection, as its hub sees it."""

    groups: set[str]
    ended: bool
    # The models that it may see, None for all.
    models: frozenset[int] | None

    def send(self, record: Record) -> None:
        """Send a record."""

    async def drained(self) -> None:
        """Wait until the client has read most of the records before."""


class Refused(Exception):
    """A call that is answered with an error; `str()` is the sentence."""


Body: TypeAlias = Callable[..., Awaitable[None]]


class Method(NamedTuple):
    """A method that clients may call."""

    body: Body  # takes the connection and the arguments
    arity: int


class Hub:
    """The methods of one hub, and its groups. Names match in any case, as in ASP.NET."""

    def __init__(self, path: str, methods: dict[str, Method]) -> None:
        self.path = path
        self._methods = {name.lower(): method for name, method in methods.items()}
        self._groups: defaultdict[str, set[Member]] = defaultdict(set)
        self._joined = 0

    @property
    def method_names(self) -> set[str]:
        """The names of the methods, in lower case."""
        return set(self._methods)

    async def call(self, connection: Member, target: str, arguments: list[Any]) -> None:
        """Carry out a client's call. Raises Refused."""
        method = self._methods.get(target.lower())
        if method is None:
            raise Refused(f"Unknown hub method '{target[:100]}'.")
        if len(arguments) != method.arity:
            expected = f"Invocation provides {len(arguments)} argument(s) but target expects {method.arity}."
            raise Refused(expected)
        await method.body(connection, *arguments)

    def leave(self, connection: Member) -> None:
        """Forget a connection that has ended."""
        for name in list(connection.groups):
            self.leave_group(connection, name)

    def join_group(self, connection: Member, name: str) -> None:
        """Add the connection to a group. Raises Refused."""
        if name in connection.groups or connection.ended:
            return
        if len(connection.groups) >= _MOST_GROUPS:
            raise Refused(f"A connection may be in {_MOST_GROUPS} groups at most.")
        if self._joined >= MOST_JOINED:
            raise Refused("The connections of this gateway are in as many groups as they may be.")
        self._joined += 1
        connection.groups.add(name)
        self._groups[name].add(connection)

    def leave_group(self, connection: Member, name: str) -> None:
        """Remove the connection from a group; harmless when it is not in it."""
        if name in connection.groups:
            self._joined -= 1
            connection.groups.discard(name)
        members = self._groups.get(name, set())
        members.discard(connection)
        if not members:
            self._groups.pop(name, None)

    def members(self, names: Iterable[str]) -> set[Member]:
        """Return the members of the groups, each once."""
        return set().union(*[self._groups.get(name, set()) for name in names])

    def publish(self, names: Iterable[str], record: Record) -> int:
        """Send a record to each member of the groups, once. Return the number of receivers."""
        receivers = self.members(names)
        for connection in receivers:
            connection.send(record)
        return len(receivers)
