"""All connections of the hubs of this gateway, and the one clock that pings them and misses the silent ones."""

import asyncio
import itertools
import time
from typing import NoReturn

from thumbq_gateway.metrics import CutOff, HubMetrics
from thumbq_gateway.signalr.connection import Connection
from thumbq_gateway.signalr.outlets import PollOutlet
from thumbq_gateway.signalr.protocol import closing

_SPOKES = 15  # each beat of the clock goes to one part of the connections
_SILENCES = 2.0  # heartbeats of the client's that may be missing: it sends one as often as we do

GOING_AWAY = closing(allow_reconnect=True)


class Connections:
    """Who is connected, by id."""

    def __init__(self, metrics: HubMetrics, *, heartbeat: float, limit: int) -> None:
        """`heartbeat` in seconds."""
        self._metrics = metrics
        self._interval = heartbeat / _SPOKES
        self._patience = heartbeat * _SILENCES
        self._limit = limit
        self._by_id: dict[str, Connection] = {}
        self._wheel: list[set[Connection]] = [set() for _ in range(_SPOKES)]
        self.is_draining = False

    @property
    def are_full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._by_id) >= self._limit

    def find(self, connection_id: str) -> Connection | None:
        """The connection of this id."""
        return self._by_id.get(connection_id)

    def enter(self, connection: Connection) -> None:
        """One more."""
        self._by_id[connection.id] = connection
        min(self._wheel, key=len).add(connection)
        self._metrics.connections.labels(connection.hub.path).inc()
        if self.is_draining:
            connection.end(GOING_AWAY)

    def leave(self, connection: Connection) -> None:
        """One less; harmless when it has left already."""
        if self._by_id.pop(connection.id, None) is None:
            return
        for spoke in self._wheel:
            spoke.discard(connection)
        connection.hub.leave(connection)
        self._metrics.connections.labels(connection.hub.path).dec()

    def drain(self) -> None:
        """Ends all of them, and those who still come; each may come again, elsewhere."""
        self.is_draining = True
        for connection in list(self._by_id.values()):
            connection.end(GOING_AWAY)

    async def beat(self) -> NoReturn:
        """Turns the wheel: whoever is on the spoke gets a ping, unless nothing was heard of it for too long."""
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
        """A client that polls has no request open at times: nothing but this notices that it is gone."""
        if outlet.polling:
            connection.ping()
        elif connection.heard_at < silent_since:
            connection.cut_off(CutOff.SILENT)
            self.leave(connection)
