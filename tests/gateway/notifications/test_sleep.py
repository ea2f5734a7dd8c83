"""A gateway without clients follows no log, so that its server reads none; the first client wakes it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.compatibility.hubs.wire import Hub
from tests.gateway.notifications.listeners import Filter, LinesReader, Message, News, Page, Stretch
from tests.support.network.http_client import Client, Listener
from tests.support.network.ports import free_port
from tests.support.postgres.queue_under_test import new_job
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq_gateway.notifications import handler, upstream
from thumbq_gateway.notifications.ring import Ring
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.transitions.enqueue import enqueue

SUBSCRIBERS = 'thumbq_streams{rpc="Subscribe"}'
WAKINGS = 'thumbq_rpc_seconds_count{rpc="GetNotificationCursor"}'
CONNECTED = "thumbq_gateway_upstream_connected"
# The least number of times that gateways wake while clients come and go.
ENOUGH = 12


class Server:
    """The figures of a running server."""

    def __init__(self, metrics_port: int) -> None:
        self.address = f"http://127.0.0.1:{metrics_port}/metrics"

    async def figure(self, name: str) -> float:
        async with aiohttp.ClientSession() as http, http.get(self.address) as answer:
            return figure(await answer.text(), name)

    async def subscribers(self, number: int) -> None:
        """Wait until it has this number of subscribers."""

        async def are_so_many() -> bool:
            return await self.figure(SUBSCRIBERS) == number

        await eventually(are_so_many)


def figure(text: str, name: str) -> float:
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


@pytest.fixture
def no_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a gateway that was just started be as one that has run for long."""
    monkeypatch.setattr(upstream, "COMING_BACK", 0.0)


@pytest.mark.usefixtures("no_past")
async def test_the_server_has_a_subscriber_as_long_as_the_gateway_has_clients(database_url: str) -> None:
    port = free_port()
    async with running_server(database_url, metrics_port=port) as address, running_gateway(address) as http:
        server, client = Server(port), Client(http)
        await client.announce(1)
        assert await server.figure(SUBSCRIBERS) == 0
        for model_id in (2, 3):
            async with client.listen() as page, client.listen("modelId=9") as other:
                await server.subscribers(1)
                await client.announce(model_id)
                seen = await page.event()
                assert seen.data["modelId"] == model_id
                await client.announce(9)
                assert await other.models(1) == [9]
            await server.subscribers(0)
            await client.announce(4)
            async with client.listen(f"after={seen.id}") as back:
                assert await back.models(2) == [9, 4]
            await server.subscribers(0)
        async with Hub.connected(http, "/thumbnailHub") as page_of_models:
            await server.subscribers(1)
            assert await page_of_models.call("JoinAllModelsGroup") == [], "what happened before is no news"
            await client.announce(5)
            assert (await page_of_models.event("ThumbnailStatusChanged"))["modelId"] == 5
        async with client.listen() as page:
            await client.announce(6)
            assert await page.models(1) == [6]


async def test_without_clients_the_gateway_knows_whether_its_server_is_there(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http:
        client = Client(http)

        async def is_connected() -> bool:
            return figure((await client.get("/metrics")).text, CONNECTED) == 1

        async def is_cut_off() -> bool:
            return not await is_connected()

        await eventually(is_connected)
        await restartable.stop()
        await eventually(is_cut_off)
        async with client.listen("queue=true") as page:
            await told(page, connected=False)
            await restartable.start()
            await told(page, connected=True)
            await client.announce(1)
            while (frame := await page.frame()).name != "thumbnail":
                pass
            assert frame.data["modelId"] == 1
        assert await is_connected()


@pytest.mark.usefixtures("no_past")
async def test_for_who_watches_the_queue_alone_the_gateway_follows_no_log(database_url: str) -> None:
    port = free_port()
    async with running_server(database_url, metrics_port=port) as address, running_gateway(address) as http:
        server, client = Server(port), Client(http)
        body = {"queue": True, "thumbnails": False}
        async with client.listen("queue=true&thumbnails=false") as console, client.post_subscription(body) as other:
            await client.enqueue(1)
            for watcher in (console, other):
                while (frame := await watcher.frame()).name != "queue" or frame.data["pending"] != 1:
                    assert frame.name in {"", "queue", "heartbeat"}
            assert await server.figure(SUBSCRIBERS) == 0
            async with client.listen() as page:
                await client.announce(2)
                assert await page.models(1) == [2]
                await client.enqueue(3)
                while (frame := await console.frame()).name != "queue" or frame.data["pending"] != 2:
                    assert frame.name in {"", "queue", "heartbeat"}, "events of models are not sent"


async def test_who_watches_the_queue_alone_is_told_when_the_server_is_away(restartable: RestartableServer) -> None:
    async with (
        running_gateway(restartable.address) as http,
        Client(http).listen("queue=true&thumbnails=false") as console,
    ):
        await told(console, connected=True)
        await restartable.stop()
        await told(console, connected=False)
        await restartable.start()
        await told(console, connected=True)


@pytest.mark.parametrize("query", ["thumbnails=perhaps", "queue=true&thumbnails=1.5"])
async def test_a_flag_is_true_or_false(database_url: str, query: str) -> None:
    async with running_server(database_url) as address, running_gateway(address) as http:
        answer = await Client(http).get(f"/api/notifications?{query}")
        assert (answer.status, answer.json["message"]) == (400, "thumbnails must be true or false.")


async def told(page: Listener, *, connected: bool) -> None:
    """Read until a heartbeat tells it."""
    while (frame := await page.frame()).name != "heartbeat" or frame.data["connected"] is not connected:
        pass


class Passer(Page):
    """A page that sometimes comes back after its cursor, and sometimes as a new one."""

    is_new = False

    def _position(self) -> str:
        self.is_new = self.dice.random() < 0.5
        return "" if self.is_new else super()._position()

    def _take(self, message: Message, pruned: int) -> None:
        if not self.is_new:
            return super()._take(message, pruned)
        self.is_new = False
        assert not message.news, "a new client is told its cursor first"
        assert message.cursor.partition("-")[0] == self.cursor.partition("-")[0]
        assert int(message.cursor.partition("-")[2]) >= self.seq, "the present lies behind what was seen"
        self.cursor = message.cursor
        self.stretches.append(Stretch(self.seq, self.seq))
        return None


class LinesPasser(Passer, LinesReader):
    """The same, for JSON lines."""


@pytest.mark.usefixtures("no_past")
@pytest.mark.parametrize("seed", range(2))
async def test_clients_that_come_and_go_see_exactly_what_follows_their_cursors(database_url: str, seed: int) -> None:
    """Two gateways have one client each, so that they sleep whenever it goes; the third has two, which may overlap."""
    dice, port = random.Random(seed), free_port()
    calm = asyncio.Event()
    async with (
        Database(database_url, pool_size=2) as database,
        running_server(database_url, metrics_port=port) as address,
        AsyncExitStack() as gateways,
    ):
        server = Server(port)
        places = [await gateways.enter_async_context(gateway(address, ring)) for ring in (1, 50, 10_000)]
        start = f"{(await notification_log.head(database)).epoch}-0"
        few = Filter(models=frozenset({2, 3}))
        passers = [
            (Passer("alone", Filter(), start, dice), places[0]),
            (LinesPasser("alone and filtered", few, start, dice), places[1]),
            (Passer("one of two", few, start, dice), places[2]),
            (LinesPasser("the other", Filter(), start, dice), places[2]),
        ]
        end = -1
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write(database, dice, calm))
            for passer, place in passers:
                tasks.create_task(follow(passer, place, lambda seq: seq == end, calm))
            while await server.figure(WAKINGS) < ENOUGH or not all(passer.news for passer, _ in passers):
                await asyncio.sleep(0.1)
            calm.set()
            await writing
            log = await written(database)
            end = len(log)
        await server.subscribers(0)
    for passer, _ in passers:
        passer.check(log)


@asynccontextmanager
async def gateway(server: str, ring: int) -> AsyncIterator[str]:
    """Run a gateway. Yields its host:port."""
    async with running_gateway(server, heartbeat=0.3, ring_notifications=ring) as http:
        assert http._base_url is not None
        yield http._base_url.authority


async def follow(passer: Passer, place: str, is_over: Callable[[int], bool], calm: asyncio.Event) -> None:
    await passer.follow(lambda: place, lambda: 0, is_over, calm.is_set)


async def write(database: Database, dice: random.Random, calm: asyncio.Event) -> None:
    """Commit single notifications and batches until it is calm."""
    files = iter(range(1, 1_000_000))
    while not calm.is_set():
        if dice.random() < 0.5:
            await notification_log.publish_test(database, dice.randint(1, 4), "Ready", None, None)
        else:
            count = dice.choice([1, 3, 40])
            await enqueue(database.lane(), [new_job(dice.randint(1, 4), next(files)) for _ in range(count)])
        await asyncio.sleep(dice.uniform(0, 0.05))


async def written(database: Database) -> list[News]:
    """Return the whole log."""
    rows = await notification_log.after(database, 0, 1_000_000)
    return [
        News(seq, model_id, row.status) for row in rows for seq, model_id in enumerate(row.model_ids, row.seq_first)
    ]


async def test_a_page_that_is_connected_before_the_log_is_read_misses_nothing_of_what_comes_then(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the gateway needs longer than a page waits: the page begins where the log ended when it came."""
    note_progress, may_tell = upstream.Upstream._note_progress, asyncio.Event()
    has_begun, has_come = asyncio.Event(), asyncio.Event()

    def held_back(self: upstream.Upstream, ring: Ring) -> None:
        has_begun.set()
        if may_tell.is_set():
            note_progress(self, ring)
        elif ring.head.seq:
            has_come.set()

    monkeypatch.setattr(handler, "PATIENCE", 0.0)
    monkeypatch.setattr(upstream.Upstream, "_note_progress", held_back)
    async with running_gateway(server) as http:
        client = Client(http)
        async with client.listen("after=earliest"):
            await asyncio.wait_for(has_begun.wait(), 30)
            async with client.listen() as page:
                await client.announce(1)
                await asyncio.wait_for(has_come.wait(), 30)
                may_tell.set()
                await client.announce(2)
                async with asyncio.timeout(30):
                    assert await page.models(2) == [1, 2]
