"""A name server that knows one name, for clients that look up the addresses of servers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_HEADER_BYTES = 12
_KIND_AND_CLASS_BYTES = 4
_IPV4 = b"\0\1"
# the name of the question, an IPv4 address on the internet, good for a second, of four bytes
_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4"


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own transport is no asyncio.DatagramTransport
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, question: bytes, sender: tuple[str, int]) -> None:
        end = question.index(b"\0", _HEADER_BYTES) + 1
        wanted = question[end:][:2]
        found = self._addresses if wanted == _IPV4 else []
        header = question[:2] + b"\x81\x80\0\1" + len(found).to_bytes(2) + b"\0\0\0\0"
        asked = question[_HEADER_BYTES : end + _KIND_AND_CLASS_BYTES]
        self._transport.sendto(header + asked + b"".join(_RECORD + socket.inet_aton(each) for each in found), sender)


@asynccontextmanager
async def named(addresses: list[str]) -> AsyncIterator[str]:
    """Give the addresses a name until the block ends. Yield how gRPC is told to look it up; a port is to follow."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(addresses), local_addr=("127.0.0.1", 0))
    try:
        yield f"dns://127.0.0.1:{transport.get_extra_info('sockname')[1]}/queue.test"
    finally:
        transport.close()
