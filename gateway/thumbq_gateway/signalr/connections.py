"""All connections of the hubs of this gateway, and the one clock that pings them and cuts off the silent ones."""

import asyncio
import itertools
import time
from typing import NoReturn

from thumbq_gateway.metrics import CutOff, HubMetrics
from thumbq_gateway.notifications.demand import Demand
from thumbq_gateway.notifications.upstream import COMING_BACK
from thumbq_gateway.signalr.connection import Connection
from thumbq_gateway.signalr.outlets import PollOutlet
from thumbq_gateway.signalr.protocol import closing

_SPOKES = 15  # each beat of the clock goes to one part of the connections

GOING_AWAY = closing(allow_reconnect=True)


class Connections:
    """The connections, by id."""

    def __init__(self, metrics: HubMetrics, log: Demand, *, interval: float, patience: float, limit: int) -> None:
        """Each connection demands that the log is followed.

        `interval` are the seconds between two pings, and `patience` those until a silent client is cut off.
        """
        self._metrics = metrics
        self._log = log
        self._interval = interval / _SPOKES
        self._patience = patience
        self._limit = limit
        self._by_id: dict[str, Connection] = {}
        self._wheel: list[set[Connection]] = [set() for _ in range(_SPOKES)]
        self.is_draining = False

    @property
    def are_full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._by_id) >= self._limit

    def find(self, connection_id: str) -> Connection | None:
        """Return the connection of this id."""
        return self._by_id.get(connection_id)

    def enter(self, connection: Connection) -> None:
        """Add a connection."""
        self._by_id[connection.id] = connection
        self._log.enter()
        min(self._wheel, key=len).add(connection)
        self._metrics.connections.labels(connection.hub.path).inc()
        if self.is_draining:
            connection.end(GOING_AWAY)

    def leave(self, connection: Connection) -> None:
        """Remove a connection; harmless when it has left already."""
        if self._by_id.pop(connection.id, None) is None:
            return
        self._log.leave(COMING_BACK)
        connection.place.give_up()
        for spoke in self._wheel:
            spoke.discard(connection)
        connection.hub.leave(connection)
        self._metrics.connections.labels(connection.hub.path).dec()

    def drain(self) -> None:
        """End all connections, and those that still come; each client may come back, to another gateway."""
        self.is_draining = True
        for connection in list(self._by_id.values()):
            connection.end(GOING_AWAY)

    async def beat(self) -> NoReturn:
        """Turn the wheel: each client of a spoke gets a ping, or is cut off when it was silent for too long."""
        for spoke in itertools.cycle(self._wheel):
            await asyncio.sleep(self._interval)
            silent_since = time.monotonic() - self._patience
            for connection in list(spoke):
                outlet = connection.outlet
                if isinstance(outlet, PollOutlet):
                    self._look_at(connection, outlet, silent_since)
                elif connection.heard_at < silent_since:
                    connection.cut_off(CutOff.SILENT)
                else:
                    connection.ping()
        raise AssertionError("a wheel has no end")

    def _look_at(self, connection: Connection, outlet: PollOutlet, silent_since: float) -> None:
        """Look after a client that polls. At times it has no request open, and only this clock notices its end."""
        if outlet.polling:
            connection.ping()
        elif connection.heard_at < silent_since:
            connection.cut_off(CutOff.SILENT)
            self.leave(connection)
