"""A stranger who knows the source and a caller's habits: malformed requests, and requests within requests."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.gateway.access.test_keys import guarded
from tests.gateway.test_connections import connection, exchange
from tests.support.network.http_client import Client

BODY = b'{"modelId": 7, "modelHash": "%b"}' % (b"a" * 64)
SIZE = len(BODY)
LENGTH = b"Content-Length: %d" % SIZE
CHUNKED = b"Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)


def asked(*headers: bytes, body: bytes = BODY, target: bytes = b"POST /api/thumbnail-jobs") -> bytes:
    lines = [target + b" HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*lines, b"", body])


def malformed(key: bytes) -> dict[str, bytes]:
    """Return requests in which two programs may see two different things."""
    hidden = asked(key, LENGTH)
    return {
        "a length and chunks": asked(LENGTH, CHUNKED, body=b"0\r\n\r\n" + hidden),
        "a length and chunks, with a key": asked(key, LENGTH, CHUNKED, body=CHUNK + hidden),
        "two lengths": asked(key, LENGTH, b"Content-Length: 0"),
        "a list of lengths": asked(key, b"Content-Length: %d,%d" % (SIZE, SIZE)),
        "a signed length": asked(key, b"Content-Length: +%d" % SIZE),
        "an encoding that is no encoding": asked(key, b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + hidden),
        "chunks that are not last": asked(key, b"Transfer-Encoding: chunked, identity", body=CHUNK),
        "chunks twice": asked(key, CHUNKED, CHUNKED, body=CHUNK),
        "a folded header": asked(b"X-A: b\r\n " + key, LENGTH),
        "a folded key": asked(key.replace(b": ", b":\r\n "), LENGTH),
        "line feeds alone": hidden.replace(b"\r\n", b"\n"),
        "one line feed alone": hidden.replace(b"\r\n" + key, b"\n" + key),
        "a carriage return alone": hidden.replace(b"\r\n" + key, b"\r" + key),
        "a space before the colon": asked(key.replace(b":", b" :"), LENGTH),
        "a NUL in the key": asked(key + b"\0", LENGTH),
        "a negative chunk": asked(key, CHUNKED, body=b"-1\r\n\r\n"),
        "a chunk in another notation": asked(key, CHUNKED, body=b"0x" + CHUNK),
        "a chunk that overflows": asked(key, CHUNKED, body=b"F" * 18 + b"\r\n" + BODY),
        "a chunk that ends with a line feed": asked(key, CHUNKED, body=CHUNK.replace(b"\r\n", b"\n", 1)),
        "two hosts": asked(key, b"Host: evil.example", LENGTH),
        "a thousand headers": asked(key, *(b"X-%d: y" % number for number in range(1_000)), LENGTH),
        "a header of 100 kB": asked(key, b"X: " + b"y" * 100_000, LENGTH),
    }


def without_a_key(key: bytes) -> dict[str, tuple[bytes, int]]:
    """Return well-formed requests that try to go round the door, and the status of each answer."""
    get = b"GET /api/thumbnail-jobs"
    return {
        "a key in a trailer": (asked(CHUNKED, body=CHUNK[:-2] + key + b"\r\n\r\n"), 401),
        "HTTP/2 by an upgrade": (asked(b"Connection: Upgrade", b"Upgrade: h2c", body=b"", target=get), 401),
        "another method by a header": (asked(b"X-HTTP-Method-Override: GET", LENGTH), 401),
        "an address of another host": (asked(key, body=b"", target=b"GET http://evil.example/console"), 403),
        "two slashes": (asked(body=b"", target=b"GET //api/thumbnail-jobs"), 404),
        "a parameter of the path": (asked(body=b"", target=get + b";/healthz"), 404),
        "a way through an open path": (asked(body=b"", target=b"GET /healthz/../api/thumbnail-jobs"), 404),
        "an encoded slash": (asked(body=b"", target=b"GET /api%2fthumbnail-jobs"), 404),
        "capitals": (asked(body=b"", target=b"GET /API/thumbnail-jobs"), 404),
    }


async def status_of(client: Client, request: bytes) -> bytes:
    async with connection(client) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(60):
            return (await reader.readexactly(12))[9:]


@pytest.mark.timeout(300)
async def test_a_stranger_gets_refusals_and_no_key_gets_into_the_log(database_url: str) -> None:
    async with guarded(database_url, allowed_hosts="localhost") as queue:
        client = Client(queue.http)
        secret = queue.keys["admin"].encode()
        key = b"X-Api-Key: " + secret
        requests = malformed(key)
        with capture_logs() as logs:
            await exchange(client, requests["a space before the colon"])
        assert [line["event"] for line in logs] == ["request.malformed"]
        assert secret.decode() not in str(logs)
        for name, request in requests.items():
            answer = await exchange(client, request)
            answers = answer.count(b"HTTP/1.0 ") + answer.count(b"HTTP/1.1 ")
            assert (answers, answer[8:12]) == (1, b" 400"), (name, answer)
        for name, (request, status) in without_a_key(key).items():
            assert await status_of(client, request) == b"%d" % status, name
        headers = {"X-Api-Key": queue.keys["admin"]}
        assert (await client.get("/api/thumbnail-jobs", headers=headers)).json["jobs"] == []
