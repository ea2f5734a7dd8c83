"""The many pages of one caller: others get each event first, and these get together what gathers meanwhile."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.engine.parts import running
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.audiences import crowd
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.cursor import Cursor, StartFrom
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import EVENT_STREAM
from thumbq_gateway.notifications.request import SubscriptionRequest
from thumbq_gateway.notifications.ring import Event

FOR_EVER = 1e9


@dataclass
class Page:
    """A page with a real socket, which reads what is there."""

    connection: Connection
    socket: socket.socket

    async def read(self, expected: str) -> None:
        """Read exactly this, and nothing more."""
        loop, read = asyncio.get_running_loop(), b""
        while len(read) < len(expected):
            read += await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 20), 30)
        assert read.decode() == expected

    def has_nothing(self) -> bool:
        with suppress(BlockingIOError):
            return not self.socket.recv(1, socket.MSG_PEEK)
        return True


Join = Callable[..., Awaitable[Page]]


@pytest.fixture
async def fanout(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fanout]:
    """A fan-out whose crowd, once it has got something, rests until it must not."""
    monkeypatch.setattr(crowd, "_REST", FOR_EVER)
    fanout = Fanout(Metrics(None).notifications, heartbeat=FOR_EVER, buffer_limit=1 << 20)
    async with running(fanout.serve_crowd()):
        yield fanout


@pytest.fixture
async def joined(fanout: Fanout) -> AsyncIterator[Join]:
    """Lets a page join that is in the present."""
    pages: list[Page] = []

    async def join(*, crowded: bool, models: Collection[int] = ()) -> Page:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        wanted = SubscriptionRequest(
            framing=EVENT_STREAM,
            model_ids=frozenset(models),
            statuses=frozenset(),
            start=StartFrom.LATEST,
            wants_thumbnails=True,
            watches_queue=False,
            wants_progress=False,
            stream="",
        )
        pages.append(Page(Connection(transport, wanted, chunked=False, crowded=crowded), theirs))
        fanout.enter(pages[-1].connection)
        fanout.join(pages[-1].connection)
        return pages[-1]

    yield join
    for page in pages:
        page.connection.transport.abort()
        page.socket.close()


def event(seq: int, size: int = 1) -> Event:
    text = f"{seq},".ljust(size, ".")
    return Event(seq, model_id=seq % 10, status=4, event_stream=text.encode(), json_lines=b"")


async def test_others_get_each_event_and_the_crowd_gets_them_together_each_once(fanout: Fanout, joined: Join) -> None:
    other, page = await joined(crowded=False), await joined(crowded=True)
    of_model_3 = await joined(crowded=True, models=[3])
    await fanout.publish([event(1)])
    await other.read("1,")
    await page.read("1,")
    for seq in (2, 3):
        await fanout.publish([event(seq)])
        await other.read(f"{seq},")
    late = await joined(crowded=True)  # it has had 2 and 3 on its way to the present
    gone = await joined(crowded=True)
    fanout.leave(gone.connection)
    await fanout.publish([event(4)])
    await other.read("4,")
    assert all(one.has_nothing() for one in (page, of_model_3, late))
    await fanout.settle()
    await page.read("2,3,4,")
    await of_model_3.read("3,")
    await late.read("4,")
    assert gone.has_nothing()

    await fanout.publish([event(5)])
    await fanout.settle()
    await late.read("5,")


async def test_more_than_may_gather_is_written_at_once_in_its_order(fanout: Fanout, joined: Join) -> None:
    page = await joined(crowded=True)
    many = [event(seq, size=10_000) for seq in range(1, 61)]
    whole = "".join(one.event_stream.decode() for one in many)
    reading = asyncio.create_task(page.read(whole))
    for one in many:
        await fanout.publish([one])
    await fanout.settle()
    await reading


async def test_a_page_that_asks_for_other_models_misses_none_of_those_that_it_keeps(
    fanout: Fanout, joined: Join
) -> None:
    page = await joined(crowded=True, models=[1, 2])
    await fanout.publish([event(1)])
    await page.read("1,")
    await fanout.publish([event(2)])
    late = await joined(crowded=True, models=[2])
    for one in (page, late):
        fanout.change_models(one.connection, frozenset({2, 3}))
    await fanout.publish([event(3)])
    await fanout.settle()
    await page.read("2,3,")
    await late.read("3,")


async def test_a_heartbeat_moves_no_page_beyond_what_it_has_got(fanout: Fanout, joined: Join) -> None:
    page = (await joined(crowded=True)).connection
    other = (await joined(crowded=False)).connection
    await fanout.publish([event(1)])
    await fanout.settle()
    await fanout.publish([event(2)])
    await fanout.settle()
    head = Cursor("e", 2)
    assert fanout._position_of(page, head) == fanout._position_of(other, head) == head
    await fanout.publish([event(3)])
    late = (await joined(crowded=True)).connection
    head = Cursor("e", 3)
    assert fanout._position_of(other, head) == head
    assert fanout._position_of(page, head) == Cursor("e", 2)
    assert fanout._position_of(late, head) is None


async def test_the_pages_of_a_caller_beyond_the_first_few_are_its_crowd(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "_REST", FOR_EVER)
    monkeypatch.setattr(crowd, "FEW", 1)
    async with running_gateway(server, trusted_proxies="127.0.0.1") as http:
        client = Client(http)
        mine, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        async with client.listen(**mine) as first, client.listen(**mine) as second, client.listen(**other) as third:
            for model_id in range(1, 31):
                await client.announce(model_id)
                for page in (first, third):
                    assert await page.models(1) == [model_id]
            waiting = asyncio.create_task(second.models(30))
            for start in itertools.count(
                1_000, 1_000
            ):  # more than may gather, so that the crowd gets all without a rest
                await client.enqueue_many(range(start, start + 1_000))
                if waiting.done():
                    break
            assert waiting.result() == list(range(1, 31))
