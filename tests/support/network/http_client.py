"""Clients that talk to a gateway as programs and pages do."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]


@dataclass
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str | None:
        value: str | None = self.headers.get("Content-Type")
        return value


async def ask(http: aiohttp.ClientSession, method: str, path: str, **request: Any) -> Answer:
    async with http.request(method, path, **request) as response:
        return Answer(response.status, response.headers, await response.read())


class Client:
    """A producer, worker or page that speaks JSON."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def get(self, path: str, **request: Any) -> Answer:
        return await ask(self.http, "GET", path, **request)

    async def post(self, path: str, body: Any = None, **request: Any) -> Answer:
        if body is not None:
            request["data"] = io.BytesIO(json.dumps(body).encode())
        return await ask(self.http, "POST", path, **request)

    async def enqueue(self, model_id: int = 42, **fields: Any) -> int:
        answer = await self.post("/api/thumbnail-jobs", {"modelId": model_id, "modelHash": digest(model_id), **fields})
        assert answer.status == 200, answer.text
        job_id: int = answer.json["jobId"]
        return job_id

    async def enqueue_many(self, model_ids: Iterable[int]) -> None:
        jobs = [{"modelId": model_id, "modelHash": digest(model_id)} for model_id in model_ids]
        answer = await self.post("/api/thumbnail-jobs", {"jobs": jobs})
        assert answer.status == 200, answer.text

    async def dequeue(self, worker_id: str = "worker-001", **more: str) -> Json:
        answer = await self.post("/api/thumbnail-jobs/dequeue", {"workerId": worker_id, **more})
        assert answer.status == 200, answer.text
        job: Json = answer.json
        return job

    async def claim(self, job_id: int) -> None:
        """Enqueue jobs until the one with this id exists, and dequeue it."""
        await self.enqueue_many(range(1, job_id + 1))
        while (await self.dequeue())["id"] != job_id:
            pass

    async def job(self, job_id: int) -> Json:
        job: Json = (await self.get(f"/api/thumbnail-jobs/{job_id}")).json
        return job

    async def announce(self, model_id: int, status: str = "Ready", **fields: Any) -> None:
        answer = await self.post(f"/api/test/thumbnail-complete/{model_id}", {"status": status, **fields})
        assert answer.status == 200, answer.text

    async def cursor(self) -> str:
        cursor: str = (await self.get("/api/notifications/cursor")).json["cursor"]
        return cursor

    async def announce_and_arrive(self, model_id: int) -> str:
        """Announce, and wait until the gateway has the notification. Returns its cursor."""
        async with self.listen(f"modelId={model_id}") as page:
            await self.announce(model_id)
            return (await page.event()).id

    @asynccontextmanager
    async def listen(self, query: str = "", **headers: str) -> AsyncIterator["Listener"]:
        """Open a page on the notification stream."""
        async with self.http.get(f"/api/notifications?{query}", headers=headers) as response:
            assert response.status == 200, await response.text()
            yield Listener(response)

    @asynccontextmanager
    async def post_subscription(self, body: Json) -> AsyncIterator["Listener"]:
        """Open the stream for more models than fit into an address."""
        async with self.http.post("/api/notifications", json=body) as response:
            assert response.status == 200, await response.text()
            yield Listener(response)


def digest(model_id: int) -> str:
    return hashlib.sha256(str(model_id).encode()).hexdigest()


@dataclass
class Frame:
    """The lines between two blank lines of an event stream."""

    fields: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.fields.get("event", "")

    @property
    def id(self) -> str:
        return self.fields["id"]

    @property
    def data(self) -> Json:
        data: Json = json.loads(self.fields["data"])
        return data


class Listener:
    """Reads the stream as EventSource does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def frame(self) -> Frame:
        """Return the next frame of any kind."""
        frame = Frame()
        async with asyncio.timeout(30):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    return frame
                name, _, value = line.rstrip("\n").partition(":")
                if name:
                    frame.fields[name] = value.removeprefix(" ")
                else:
                    frame.comments.append(value)
        raise EOFError

    async def event(self, name: str = "thumbnail") -> Frame:
        """Return the next event, which must have this name. Heartbeats, which come at any time, are passed over."""
        while not (frame := await self.frame()).name or (frame.name == "heartbeat" and name != "heartbeat"):
            pass
        assert frame.name == name, frame
        return frame

    async def models(self, count: int) -> list[int]:
        """Return the models of the next events."""
        return [(await self.event()).data["modelId"] for _ in range(count)]
