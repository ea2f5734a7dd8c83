"""A client of the hubs that shows every message on the wire, over each of the three transports."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

Json = dict[str, Any]
HANDSHAKE = {"protocol": "json", "version": 1}
PATIENCE = 60.0  # seconds


class Hub:
    """A WebSocket to a hub."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._unread: list[Json] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, http: aiohttp.ClientSession, path: str, *, token: str | None = None) -> AsyncIterator[Self]:
        """The bare connection, before its handshake."""
        token = token or (await negotiate(http, path))["connectionToken"]
        async with http.ws_connect(path, params={"id": token}) as socket:
            yield cls(socket)

    @classmethod
    @asynccontextmanager
    async def connected(cls, http: aiohttp.ClientSession, path: str) -> AsyncIterator[Self]:
        async with cls.opened(http, path) as hub:
            await hub.send(HANDSHAKE)
            assert await hub.message() == {}
            yield hub

    async def send(self, *messages: object) -> None:
        """In one frame."""
        await self.socket.send_str("".join(json.dumps(message) + "\x1e" for message in messages))

    async def message(self) -> Json:
        """The next message, pings left out. EOFError at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while not self._unread:
                    frame = await self.socket.receive()
                    if frame.type is not aiohttp.WSMsgType.TEXT:
                        raise EOFError
                    assert frame.data.endswith("\x1e")
                    self._unread = [json.loads(record) for record in frame.data.split("\x1e")[:-1]]
                message = self._unread.pop(0)
                if message.get("type") != 6:
                    return message

    async def event(self, target: str) -> Json:
        """The argument of the next event, which must be this one."""
        message = await self.message()
        assert (message["type"], message["target"], len(message["arguments"])) == (1, target, 1), message
        argument: Json = message["arguments"][0]
        return argument

    async def next(self, target: str) -> Json:
        """The argument of the next event of this name; others are passed over."""
        while True:
            message = await self.message()
            if message.get("target") == target:
                argument: Json = message["arguments"][0]
                return argument

    async def invoke(self, target: str, *arguments: object, id: str = "0") -> None:
        await self.send({"type": 1, "invocationId": id, "target": target, "arguments": list(arguments)})

    async def call(self, target: str, *arguments: object) -> list[Json]:
        """Invoke, and expect success. Return the messages before the answer."""
        await self.invoke(target, *arguments, id="call")
        before = []
        while (message := await self.message()).get("type") != 3:
            before.append(message)
        assert message == {"type": 3, "invocationId": "call"}, message
        return before


async def negotiate(http: aiohttp.ClientSession, path: str) -> Json:
    async with http.post(f"{path}/negotiate?negotiateVersion=1") as answer:
        assert answer.status == 200, await answer.text()
        negotiated: Json = await answer.json()
        return negotiated


def address(http: aiohttp.ClientSession) -> str:
    """Where the paths of a session lead."""
    return str(http._base_url).rstrip("/")
