"""Pages and programs that follow notifications through all outages, and record every event.

`python -m tests.system.chaos.actors.subscribers FOLDER NAME=WHERE...` with WHERE one of sse:ADDRESS, lines:ADDRESS and
grpc:ADDRESS, and then the models to follow, or nothing for all: page-1=sse:127.0.0.1:5009:1,2,3
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.support.programs import say_ready
from tests.system.chaos.actors.journal import DELIVERED, Pen, journal_path
from thumbq import Reset, Subscriber, ThumbnailStatus

# A little more than two heartbeats of the gateway. A connection that is silent for this time is dead.
SILENCE = 5.0
PAUSE = 0.2


class Page:
    """A page that behaves like EventSource: it reconnects with the last id that it has seen."""

    def __init__(self, address: str, models: str, pen: Pen, *, as_lines: bool) -> None:
        self._url = f"http://{address}/api/notifications"
        self._models = models
        self._pen = pen
        self._as_lines = as_lines
        self._last_id = ""

    async def follow(self) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    await self._connect(http)
                    self._pen.write("broken", "ended")
                except (OSError, TimeoutError, aiohttp.ClientError) as error:
                    self._pen.write("broken", type(error).__name__)
                await asyncio.sleep(PAUSE)

    async def _connect(self, http: aiohttp.ClientSession) -> None:
        query = {"modelId": self._models} if self._models else {}
        headers = {"Accept": "application/x-ndjson"} if self._as_lines else {}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        else:
            query["after"] = "earliest"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        async with http.get(self._url, params=query, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                if response.status not in {503, 504}:
                    self._pen.write("surprise", "subscribe", response.status, await response.text())
                return
            self._pen.write("connected", self._last_id)
            frames = _lines(response) if self._as_lines else _frames(response)
            async for event, cursor, data in frames:
                self._take(event, cursor, data)

    def _take(self, event: str, cursor: str, data: str) -> None:
        if cursor:
            self._last_id = cursor
        if event == "thumbnail":
            thumbnail = json.loads(data)
            self._pen.write(DELIVERED, _seq(cursor), thumbnail["modelId"], thumbnail["jobId"], thumbnail["status"])
        elif event == "reset":
            self._pen.write("reset", _seq(cursor))
        elif cursor:
            self._pen.write("cursor", _seq(cursor))


async def _frames(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, str]]:
    """Yield event, id and data of each whole frame; the last one may be broken off and does not count."""
    fields: dict[str, str] = {}
    while line := (await response.content.readline()).decode():
        if line == "\n":
            yield fields.get("event", ""), fields.get("id", ""), fields.get("data", "")
            fields = {}
        elif line.endswith("\n"):
            name, _, value = line.rstrip("\n").partition(":")
            fields[name] = value.removeprefix(" ")


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, str]]:
    while line := await response.content.readline():
        if line.endswith(b"\n"):
            event = json.loads(line)
            yield event["event"], event.get("id", ""), json.dumps(event.get("data"))


async def follow_by_grpc(address: str, models: str, pen: Pen) -> None:
    model_ids = [int(model) for model in models.split(",") if model]
    async with Subscriber(address, model_ids=model_ids, after="earliest") as subscriber:
        async for item in subscriber:
            if isinstance(item, Reset):
                pen.write("reset", _seq(item.cursor))
            else:
                status = ThumbnailStatus.Name(item.status).removeprefix("THUMBNAIL_STATUS_").capitalize()
                pen.write(DELIVERED, _seq(item.cursor), item.model_id, item.job_id, status)


def _seq(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


async def main(folder: Path, subscribers: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    duties = []
    for subscriber in subscribers:
        name, _, where = subscriber.partition("=")
        kind, host, port, models = where.split(":")
        pen = Pen(str(journal_path(folder, name)))
        if kind == "grpc":
            duties.append(asyncio.create_task(follow_by_grpc(f"{host}:{port}", models, pen)))
        else:
            page = Page(f"{host}:{port}", models, pen, as_lines=kind == "lines")
            duties.append(asyncio.create_task(page.follow()))
    say_ready()
    await asyncio.wait([*duties, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    for duty in duties:
        if duty.done():
            duty.result()
        duty.cancel()
    await asyncio.gather(*duties, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
