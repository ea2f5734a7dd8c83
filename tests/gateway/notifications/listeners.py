"""Subscribers of every kind that lose their connections often and check every event that they receive."""

import asyncio
import contextlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
import grpc

from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import SubscribeRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.notifications.cursor import Cursor

_AWAY = OSError, TimeoutError, aiohttp.ClientError, grpc.aio.AioRpcError
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=5)


class News(NamedTuple):
    """The compared fields of a notification."""

    seq: int
    model_id: int
    status: str


class Message(NamedTuple):
    """One message to a subscriber: its new cursor, with a notification, a reset, or neither."""

    cursor: str
    news: News | None = None
    reset: bool = False


@dataclass(frozen=True)
class Filter:
    """The models and statuses that a subscriber wants. An empty set means all."""

    models: frozenset[int] = frozenset()
    statuses: frozenset[str] = frozenset()

    def admits(self, news: News) -> bool:
        return (not self.models or news.model_id in self.models) and (not self.statuses or news.status in self.statuses)

    def query(self) -> list[tuple[str, str]]:
        models = [("modelId", str(model)) for model in sorted(self.models)]
        return models + [("status", status) for status in sorted(self.statuses)]


@dataclass
class Stretch:
    """The notifications between two resets: after position `start`, up to position `end`."""

    start: int
    end: int
    seen: list[News] = field(default_factory=list)


class Listener(ABC):
    """A subscriber that starts at a cursor and follows the log over many connections."""

    def __init__(self, name: str, wanted: Filter, cursor: str, dice: random.Random) -> None:
        self.name = name
        self.wanted = wanted
        self.cursor = cursor
        self.dice = dice
        self.stretches = [Stretch(self.seq, self.seq)]

    @property
    def seq(self) -> int:
        return Cursor.parse(self.cursor).seq

    @property
    def resets(self) -> int:
        return len(self.stretches) - 1

    @property
    def news(self) -> int:
        return sum(len(stretch.seen) for stretch in self.stretches)

    async def follow(
        self,
        address: Callable[[], str],
        pruned: Callable[[], int],
        is_over: Callable[[int], bool],
        is_calm: Callable[[], bool],
    ) -> None:
        """Follow until `is_over(position)`. `pruned` returns the position up to which the log is pruned.

        Once it is calm, a connection may take as long as it needs: a busy machine opens none in three seconds.
        """
        while not is_over(self.seq):
            lifetime = 30.0 if is_calm() else self.dice.choice([0.05, 0.3, 1.0, 3.0])
            with contextlib.suppress(*_AWAY):
                async with asyncio.timeout(lifetime), contextlib.aclosing(self._listen(address())) as messages:
                    async for message in messages:
                        self._take(message, pruned())
                        if is_over(self.seq):
                            return
            await asyncio.sleep(self.dice.choice([0, 0, 0.1, 0.8]))

    def check(self, log: Sequence[News]) -> None:
        """Check that each stretch has every event of the log that passes the filter. `log` begins with seq 1."""
        for stretch in self.stretches:
            expected = [news for news in log[stretch.start : stretch.end] if self.wanted.admits(news)]
            assert stretch.seen == expected, f"{self.name} from {stretch.start} to {stretch.end}"

    @abstractmethod
    def _listen(self, address: str) -> AsyncGenerator[Message]: ...

    def _take(self, message: Message, pruned: int) -> None:
        before, self.cursor = self.seq, message.cursor
        if message.reset:
            assert before < pruned, f"{self.name}: a reset at {before}, which the log still reaches ({pruned})"
            assert self.seq > before, f"{self.name}: sent back from {before} to {self.seq}"
            self.stretches.append(Stretch(self.seq, self.seq))
            return
        assert self.seq >= before, f"{self.name}: {self.seq} after {before}"
        if message.news:
            assert self.seq > before, f"{self.name}: {message.news} after {before}"
            self.stretches[-1].seen.append(message.news)
        self.stretches[-1].end = self.seq


class Page(Listener):
    """A client of the gateway's event stream."""

    accept = "text/event-stream"

    async def _listen(self, address: str) -> AsyncGenerator[Message]:
        headers = {"Accept": self.accept}
        query = self.wanted.query()
        if position := self._position():
            if self.dice.random() < 0.5:
                headers["Last-Event-ID"] = position
            else:
                query.append(("after", position))
        async with (
            aiohttp.ClientSession(timeout=_TIMES) as http,
            http.get(f"http://{address}/api/notifications", params=query, headers=headers) as response,
        ):
            response.raise_for_status()
            async for event, cursor, data in self._events(response.content):
                if cursor:
                    yield Message(cursor, _news(cursor, data) if event == "thumbnail" else None, event == "reset")

    def _position(self) -> str:
        """Return the cursor to start after; "" is the present."""
        return self.cursor

    async def _events(self, content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str, str]]:
        """Yield event, id and data of each complete frame."""
        fields: dict[str, str] = {}
        while (line := (await content.readline()).decode()).endswith("\n"):
            if line == "\n":
                yield fields.get("event", ""), fields.get("id", ""), fields.get("data", "")
                fields = {}
            else:
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.removeprefix(" ")


class LinesReader(Page):
    accept = "application/x-ndjson"

    async def _events(self, content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str, str]]:
        while (line := (await content.readline())).endswith(b"\n"):
            event = json.loads(line)
            yield event["event"], event.get("id", ""), json.dumps(event.get("data"))


class GrpcListener(Listener):
    async def _listen(self, address: str) -> AsyncGenerator[Message]:
        statuses = [ThumbnailStatus.Value(f"THUMBNAIL_STATUS_{status.upper()}") for status in self.wanted.statuses]
        request = SubscribeRequest(model_ids=self.wanted.models, statuses=statuses, after=self.cursor)
        async with grpc.aio.insecure_channel(address) as channel:
            async for response in NotificationServiceStub(channel).Subscribe(request):
                for notification in response.notifications:
                    status = ThumbnailStatus.Name(notification.status).removeprefix("THUMBNAIL_STATUS_").capitalize()
                    news = News(Cursor.parse(notification.cursor).seq, notification.model_id, status)
                    yield Message(notification.cursor, news)
                yield Message(response.cursor, reset=response.reset)


def _news(cursor: str, data: str) -> News:
    fields = json.loads(data)
    return News(Cursor.parse(cursor).seq, fields["modelId"], fields["status"])
