"""Compressed bodies: gzip and deflate are read within the limits of plain ones, all others are refused."""

import gzip
import re
import zlib

import aiohttp
import pytest

from tests.gateway.test_connections import connection, exchange
from tests.support.network.http_client import Client, ask

JOB = b'{"modelId": 1, "modelHash": "%b"}' % (b"a" * 64)
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def raw_deflate(content: bytes) -> bytes:
    """Deflate without the header that RFC 1950 asks for, as some clients send it."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


def request(encoding: bytes, body: bytes, path: bytes = b"/api/thumbnail-jobs") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    return head + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)


async def test_every_route_with_a_body_refuses_other_encodings_and_goes_on_with_the_connection(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    described = (await client.get("/openapi.json")).json["paths"]
    routes = [path for path, methods in described.items() if "requestBody" in methods.get("post", {})]
    refused = set()
    for route in routes:
        path = re.sub(r"\{\w+\}", "1", route).encode()
        for encoding in (b"br", b"zstd", b"compress", b"gzip, gzip", b"br, gzip", b"gzip\r\nContent-Encoding: gzip"):
            answer = await exchange(client, request(encoding, b"{}", path) + NEXT)
            # Some look for a key, or for what their path names, before they look at the body.
            assert answer[8:13] in {b" 401 ", b" 403 ", b" 404 ", b" 415 "}, (route, encoding, answer)
            assert answer.count(b"HTTP/1.1 200 OK") == 1, (route, encoding, answer)
            refused |= {route} if answer[8:13] == b" 415 " else set()
    assert len(refused) > 15, refused
    assert "request.malformed" not in capfd.readouterr().out


@pytest.mark.changes_nothing
async def test_the_refusal_is_the_documented_error(client: Client) -> None:
    for encoding in ("br", "zstd", "gzip, br", "x-gzip"):
        answer = await client.post("/api/thumbnail-jobs", data=JOB, headers={"Content-Encoding": encoding})
        assert (answer.status, answer.json["status"]) == (415, "INVALID_ARGUMENT")
        assert answer.json["message"] == (
            f"The Content-Encoding {encoding!r} is not understood: send gzip, deflate, or none."
        )


READ = {
    "gzip": (b"gzip", gzip.compress(JOB)),
    "in capitals": (b"GZIP", gzip.compress(JOB)),
    "deflate": (b"deflate", zlib.compress(JOB)),
    "deflate without its header": (b"deflate", raw_deflate(JOB)),
    "none by name": (b"identity", JOB),
    "one beside none": (b"identity, gzip", gzip.compress(JOB)),
    "without a name": (b"", JOB),
}


async def test_an_encoded_body_is_read_whole_or_byte_by_byte(client: Client) -> None:
    for name, (encoding, body) in READ.items():
        answer = await exchange(client, request(encoding, body) + NEXT)
        assert answer.count(b"HTTP/1.1 200 OK") == 2, (name, answer)
    async with connection(client) as (reader, writer):
        for octet in request(b"gzip", gzip.compress(JOB)):
            writer.write(bytes([octet]))
            await writer.drain()
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")


UNDECODABLE = {
    "gzip that is none": (b"gzip", b"{}"),
    "gzip that turns into something else": (b"gzip", gzip.compress(JOB)[:30] + b"\xff" * 30),
    "gzip that is cut off": (b"gzip", gzip.compress(JOB + b" " * 5_000)[:-20]),
    "gzip without its checksum": (b"gzip", gzip.compress(JOB)[:-3]),
    "gzip with a wrong checksum": (b"gzip", gzip.compress(JOB)[:-8] + bytes(8)),
    "gzip and something behind it": (b"gzip", gzip.compress(JOB) + b"more"),
    "the first byte of gzip": (b"gzip", b"\x1f"),
    "deflate that is none": (b"deflate", b"\xff\xff\xff\xff"),
    "deflate that is cut off": (b"deflate", zlib.compress(JOB + b" " * 5_000)[:-6]),
    "the first byte of deflate": (b"deflate", b"\x78"),
}


async def test_a_body_that_cannot_be_decoded_is_the_clients_fault(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    for name, (encoding, body) in UNDECODABLE.items():
        answer = await exchange(client, request(encoding, body) + NEXT)
        assert answer.startswith(b"HTTP/1.1 400 "), (name, answer)
        assert b'"message":"The request body cannot be decoded."' in answer
        assert answer.count(b"HTTP/1.1 200 OK") == 1, (name, answer)
    assert capfd.readouterr().out == ""


@pytest.mark.changes_nothing
async def test_a_small_body_that_decodes_to_much_is_refused(client: Client) -> None:
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)):
        body = compress(b" " * 100_000_000)
        answer = await client.post("/api/thumbnail-jobs", data=body, headers={"Content-Encoding": encoding})
        assert (answer.status, answer.json["message"]) == (413, "The request body is larger than 4 MiB.")


@pytest.mark.changes_nothing
async def test_a_large_body_that_decodes_to_nothing_is_refused(client: Client) -> None:
    block = b"\x00\x00\x00\xff\xff"  # a stored block without content
    answer = await exchange(
        client,
        b"POST /api/thumbnail-jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: deflate\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (5_000_000, block * 1_000_000),
    )
    assert answer.startswith(b"HTTP/1.1 413 "), answer


@pytest.mark.changes_nothing
async def test_a_picture_comes_as_it_is(client: Client) -> None:
    form = aiohttp.FormData()
    form.add_field("file", gzip.compress(b"not looked at"), filename="a.png")
    path, headers = "/models/1/thumbnail/upload", {"Content-Encoding": "gzip"}
    answer = await ask(client.http, "POST", path, data=form, headers=headers, compress=False)
    assert (answer.status, answer.json["message"]) == (415, "The body must come without Content-Encoding.")
