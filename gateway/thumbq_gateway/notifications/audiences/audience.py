"""Clients that receive the same bytes: of one framing, transport, crowd and choice of statuses."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.framing import Framing, ProgressEvent, heartbeat_data
from thumbq_gateway.notifications.ring import Event

# Of more jobs that change within half a second, a client is told of some.
_MOST_PROGRESS = 200

Write: TypeAlias = Callable[[Collection[Connection], bytes], None]


class Message(NamedTuple):
    """The same bytes for several connections."""

    connections: list[Connection]
    data: bytes
    events: int


class Audience:
    """The connections of one kind, sorted by what they want to receive."""

    def __init__(self, framing: Framing, statuses: frozenset[int], write: Write, *, chunked: bool) -> None:
        """Empty `statuses` mean all. `write` sends the same bytes to several connections and never waits."""
        self._framing = framing
        self._statuses = statuses
        self._write = write
        self._chunked = chunked
        self._joined: set[Connection] = set()
        self._of_all_models: set[Connection] = set()
        self._by_model: defaultdict[int, set[Connection]] = defaultdict(set)
        self._of_queue: set[Connection] = set()

    def join(self, connection: Connection) -> None:
        """Send events to the connection from now on."""
        self._joined.add(connection)
        for model_id in connection.request.model_ids:
            self._by_model[model_id].add(connection)
        if not connection.request.model_ids:
            self._of_all_models.add(connection)

    def watch_queue(self, connection: Connection) -> None:
        """Send the queue's state to the connection from now on."""
        self._of_queue.add(connection)

    def leave(self, connection: Connection) -> None:
        """Send nothing more to the connection."""
        self._of_queue.discard(connection)
        self._joined.discard(connection)
        self._of_all_models.discard(connection)
        for model_id in connection.request.model_ids:
            of_model = self._by_model.get(model_id, set())
            of_model.discard(connection)
            if not of_model:
                self._by_model.pop(model_id, None)

    def messages(self, events: Sequence[Event]) -> Iterator[Message]:
        """Yield what each connection is to get of the events."""
        if self._statuses:
            events = [event for event in events if event.status in self._statuses]
        if not events:
            return
        if self._of_all_models:
            yield self.message(self._of_all_models, events)
        if self._by_model:
            for matches, connections in self._grouped_by_matches(events).items():
                yield self.message(connections, matches)

    def publish_progress(self, events: Sequence[ProgressEvent], write: Write) -> None:
        """Send progress to the connections that asked for it."""
        wanted: defaultdict[Connection, list[ProgressEvent]] = defaultdict(list)
        for event in events if self._by_model else ():
            for connection in self._by_model.get(event.model_id, ()):
                if connection.request.wants_progress:
                    wanted[connection].append(event)
        for connection, matches in wanted.items():
            self._write_progress([connection], matches, write)
        of_all = [connection for connection in self._of_all_models if connection.request.wants_progress]
        self._write_progress(of_all, events, write)

    def send_progress(self, connection: Connection, events: Sequence[ProgressEvent], write: Write) -> None:
        """Send one connection the progress of its models."""
        models = connection.request.model_ids
        matches = [event for event in events if not models or event.model_id in models]
        self._write_progress([connection], matches, write)

    def publish_reset(self, data: bytes, cursor: str) -> int:
        """Send a reset to every connection that receives events. Returns their number."""
        joined = len(self._joined)
        self._write(self._joined, self._packed(self._framing.event("reset", data, cursor)))
        return joined

    def publish_queue(self, snapshot: bytes) -> None:
        """Send the queue's state, as JSON, to the connections that watch it."""
        self.send_queue(self._of_queue, snapshot)

    def publish_connected(self, connected: bool) -> None:
        """Send a heartbeat to the connections that watch the queue: whether the gateway has its server."""
        self.send_connected(self._of_queue, connected)

    def send_queue(self, connections: Collection[Connection], snapshot: bytes) -> None:
        """Send the queue's state, as JSON, to these connections."""
        if connections:
            self._write(connections, self._packed(self._framing.event("queue", snapshot, None)))

    def send_connected(self, connections: Collection[Connection], connected: bool, cursor: str | None = None) -> None:
        """Send these connections a heartbeat that says whether the gateway has its server."""
        if connections:
            frame = self._framing.event("heartbeat", heartbeat_data(connected), cursor)
            self._write(connections, self._packed(frame))

    def send_heartbeat(self, connections: Collection[Connection], cursor: str | None) -> None:
        """Send these connections a plain heartbeat."""
        self._write(connections, self._packed(self._framing.heartbeat(cursor)))

    def _grouped_by_matches(self, events: Sequence[Event]) -> Mapping[tuple[Event, ...], Collection[Connection]]:
        """Return the connections that name models, grouped by the events that they want."""
        wanted: defaultdict[Connection, list[Event]] = defaultdict(list)
        for event in events:
            for connection in self._by_model.get(event.model_id, ()):
                wanted[connection].append(event)
        groups: defaultdict[tuple[Event, ...], list[Connection]] = defaultdict(list)
        for connection, matches in wanted.items():
            groups[tuple(matches)].append(connection)
        return groups

    def message(self, connections: Collection[Connection], events: Sequence[Event]) -> Message:
        """Return what these connections get when they get these events."""
        frames = [self._framing.encoded(event) for event in events]
        return Message(list(connections), self._packed(b"".join(frames)), len(frames))

    def _write_progress(
        self, connections: Collection[Connection], events: Sequence[ProgressEvent], write: Write
    ) -> None:
        if connections and events:
            some = events if len(events) <= _MOST_PROGRESS else random.sample(events, _MOST_PROGRESS)
            write(connections, self._packed(b"".join(map(self._framing.encoded, some))))

    def _packed(self, frame: bytes) -> bytes:
        """Return the frame as the transport needs it: in HTTP/1.1, a chunk with its length."""
        return b"%x\r\n%b\r\n" % (len(frame), frame) if self._chunked else frame
