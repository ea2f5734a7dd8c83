"""The steps of a recovery: what works again after a promotion, for whom, and when."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.system.chaos.actors.clients import PRODUCERS, Clients
from tests.system.chaos.actors.journal import DELIVERED, ENQUEUED, RESET, Follower
from tests.system.failover.faults import Fault
from tests.system.failover.probe import Probe

WRITABLE, BEGUN = "the cluster takes a write", "a server begins the new history"
READY = "servers say that they are ready"
BY_GRPC, BY_JSON = "a job is enqueued over gRPC", "a job is enqueued over JSON"
RESULTS_BY_GRPC = "gRPC workers have a result accepted, less their work"
RESULTS_BY_JSON = "JSON workers have a result accepted, less their work"
PROGRAM_RESET, PAGES_RESET = "the program is told of the new history", "pages are told of the new history"
PROGRAM_SEES, PAGES_SEE = "the program sees an event", "pages see an event"
# After these, all clients that are served all the time are served again.
SERVED = (RESULTS_BY_GRPC, RESULTS_BY_JSON, PROGRAM_SEES, PAGES_SEE)


@dataclass
class Failover:
    """A fault, and the times of what followed it."""

    fault: Fault
    at: float
    # The host that took over, when it was a primary, and when that took a write.
    new: str
    promoted: float
    writable: float
    # By step and by who took it: seconds from the promotion. A step that was not needed has none.
    steps: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def until_served(self) -> float:
        """The seconds from the promotion until the last client was served again."""
        return max((seconds for step in SERVED for seconds in self.steps.get(step, {}).values()), default=0.0)

    def note_steps(self, probe: Probe, follower: Follower, clients: Clients) -> None:
        """Look up when each step was taken."""
        promoted = self.promoted

        def first(what: str) -> Callable[[str], float | None]:
            return lambda client: follower.first(client, what, promoted)

        def ready(server: str) -> float | None:
            return at if (at := probe.ready[server]) > promoted else None

        def result(worker: str) -> float | None:
            return follower.first_result(worker, promoted)

        def reset(subscriber: str) -> float | None:
            return follower.first(subscriber, RESET, self.at)

        def event(subscriber: str) -> float | None:
            # An event before the reset is of the history before.
            since = reset(subscriber)
            return follower.first(subscriber, DELIVERED, since) if since else None

        by_grpc, by_json = PRODUCERS
        workers = [worker.name for worker in clients.workers]
        sdk_workers = [name for name in workers if name.startswith("sdk")]
        json_workers = [name for name in workers if name not in sdk_workers]
        all_events = [each for each in clients.subscribers if not each.models]
        programs = [each.name for each in all_events if each.kind == "grpc"]
        pages = [each.name for each in all_events if each.kind != "grpc"]
        self._note(WRITABLE, [self.new], lambda _: self.writable)
        self._note(BEGUN, [self.new], probe.begun.get)
        self._note(READY, list(probe.ready), ready)
        self._note(BY_GRPC, [by_grpc], first(ENQUEUED))
        self._note(BY_JSON, [by_json], first(ENQUEUED))
        self._note(RESULTS_BY_GRPC, sdk_workers, result)
        self._note(RESULTS_BY_JSON, json_workers, result)
        self._note(PROGRAM_RESET, programs, reset)
        self._note(PAGES_RESET, pages, reset)
        self._note(PROGRAM_SEES, programs, event)
        self._note(PAGES_SEE, pages, event)

    def _note(self, step: str, names: Sequence[str], moment_of: Callable[[str], float | None]) -> None:
        moments = {name: moment for name in names if (moment := moment_of(name)) is not None}
        self.steps[step] = {name: max(0.0, at - self.promoted) for name, at in moments.items()}

    def lines(self) -> Iterator[str]:
        """Yield a line for each step: its name, and when the first and the last took it."""
        for step, seconds in self.steps.items():
            if not seconds:
                yield f"{'-':>6} {'':6}  {step}"
                continue
            last = max(seconds, key=seconds.__getitem__)
            several = f"{seconds[last]:6.2f}" if len(seconds) > 1 else ""
            yield f"{min(seconds.values()):6.2f} {several:6}  {step}{f' (last: {last})' if several else ''}"
