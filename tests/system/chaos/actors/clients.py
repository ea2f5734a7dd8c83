"""The clients of a run, each with its link to the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.support.programs import Program
from tests.system.chaos.actors.behaviour import FENCED, LEGACY
from tests.system.chaos.actors.journal import journal_path
from tests.system.chaos.proxy import Link

_ACTORS = "tests.system.chaos.actors"
# Those over gRPC and those over JSON: one program, and a link and a journal each.
PRODUCERS = ("producers", "json producers")


class Capacity(NamedTuple):
    """The number of jobs that a worker of the SDK works on, and the number that it holds beside those."""

    concurrency: int
    prefetch: int


@dataclass(frozen=True)
class Worker:
    """A worker and its link to the service."""

    program: Program
    link: Link

    @property
    def name(self) -> str:
        return self.program.name


@dataclass(frozen=True)
class Subscriber:
    """A page or a program that follows the notifications of its models, or of all models."""

    name: str
    kind: str
    link: Link
    models: tuple[int, ...] = ()

    @property
    def argument(self) -> str:
        """Its argument on the command line of the subscribers."""
        return f"{self.name}={self.kind}:{self.link.address}:{','.join(map(str, self.models))}"


class Clients:
    """The clients of two servers and two gateways, given by their ports."""

    def __init__(
        self,
        folder: Path,
        journals: Path,
        seed: int,
        rate: float,
        capacity: Capacity,
        servers: list[int],
        gateways: list[int],
    ) -> None:
        def link_of(name: str, targets: Sequence[int]) -> Link:
            return Link(f"the link of {name}", *targets)

        def worker(name: str, module: str, targets: Sequence[int], *arguments: str) -> Worker:
            link = link_of(name, targets)
            journal = str(journal_path(journals, name))
            common = (name, link.address, journal, str(seed))
            return Worker(Program(name, f"{_ACTORS}.{module}", folder, *common, *arguments), link)

        def sdk_worker(name: str, targets: Sequence[int]) -> Worker:
            return worker(name, "sdk_worker", targets, *map(str, capacity))

        def subscriber(name: str, kind: str, targets: Sequence[int], *models: int) -> Subscriber:
            return Subscriber(name, kind, link_of(name, targets), models)

        self.workers = [
            sdk_worker("sdk-1", servers[:1]),
            sdk_worker("sdk-2", servers[1:]),
            sdk_worker("sdk-3", servers),
            worker("json-legacy", "json_worker", gateways[:1], LEGACY),
            worker("json-fenced", "json_worker", gateways[1:], FENCED),
        ]
        self.subscribers = [
            subscriber("page-1", "sse", gateways[:1]),
            subscriber("page-2", "lines", gateways[1:]),
            subscriber("page-3", "sse", gateways),
            subscriber("page-few", "sse", gateways, 1, 2, 3, 4, 5),
            subscriber("page-one", "lines", gateways[1:], 7),
            subscriber("program", "grpc", servers),
            subscriber("program-few", "grpc", servers[1:], 5, 6, 1001, 1002),
        ]
        producer_links = [link_of(name, ports) for name, ports in zip(PRODUCERS, (servers, gateways), strict=True)]
        self.links = [
            *(worker.link for worker in self.workers),
            *(subscriber.link for subscriber in self.subscribers),
            *producer_links,
        ]
        self.listeners = Program(
            "subscribers",
            f"{_ACTORS}.subscribers",
            folder,
            str(journals),
            *(each.argument for each in self.subscribers),
        )
        self.producers = Program(
            "producers",
            f"{_ACTORS}.producers",
            folder,
            *(each.address for each in producer_links),
            *(str(journal_path(journals, name)) for name in PRODUCERS),
            str(seed),
            str(rate),
        )

    @property
    def programs(self) -> list[Program]:
        return [*(worker.program for worker in self.workers), self.listeners, self.producers]

    @property
    def witnesses(self) -> list[Worker | Subscriber]:
        """The clients that are served all the time, so that they notice every outage."""
        return [*self.workers, *(subscriber for subscriber in self.subscribers if not subscriber.models)]
