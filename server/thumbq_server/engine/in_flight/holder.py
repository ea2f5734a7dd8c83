"""A caller and its jobs in flight. Synchronous, without I/O."""

from collections.abc import Callable, Mapping


class Holder:
    """A caller. `room` is how many more jobs it may have; jobs that a claim under way may bring are taken from it."""

    __slots__ = ("_on_short", "caller", "held", "is_told", "most", "room", "users")

    def __init__(self, caller: str, most: int, on_short: Callable[[], None]) -> None:
        """`on_short` is called when less than half of the room is left."""
        self.caller = caller
        self.most = self.room = most
        # Not fewer than the leases of each session that were handed to this caller.
        self.held: dict[int, int] = {}
        # Calls and streams that have it.
        self.users = 0
        self.is_told = False
        self._on_short = on_short

    def take(self, count: int) -> None:
        """Take room for jobs that may come."""
        self.room -= count
        if self.room < self.most // 2 or not self.room:
            self._on_short()

    def give_back(self, count: int) -> None:
        """Return room for jobs that did not come."""
        self.room += count

    def hold(self, session: int, count: int) -> None:
        """Note jobs that came. Their room was taken before."""
        self.held[session] = self.held.get(session, 0) + count

    def let_go(self, counted: Mapping[int, int], left: Mapping[int, int]) -> None:
        """Return the room of leases that are gone: there were `counted`, and not more than `left` remain of them."""
        for session, count in counted.items():
            gone = max(0, count - left.get(session, 0))
            self.held[session] -= gone
            self.room += gone
            if not self.held[session]:
                del self.held[session]


class Unbounded(Holder):
    """Callers that are not counted."""

    def __init__(self) -> None:
        super().__init__("", 1 << 62, lambda: None)

    def take(self, count: int) -> None:
        """Take nothing."""

    def give_back(self, count: int) -> None:
        """Return nothing."""

    def hold(self, session: int, count: int) -> None:
        """Note nothing."""


UNBOUNDED = Unbounded()
