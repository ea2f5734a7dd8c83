"""Paths, headers and queries that no client of ours sends. Each is the client's fault, and none an internal error."""

import contextlib
import string

import pytest

from tests.gateway.test_connections import exchange
from tests.support.network.http_client import Client

pytestmark = pytest.mark.changes_nothing

PATHS = {
    "NUL": "/static/%00",
    "NUL in the middle": "/static/live/page.js%00.html",
    "256 characters": "/static/" + "a" * 256,
    "5,000 characters": "/static/" + "a" * 5_000,
    "a thousand folders": "/static/" + "a/" * 1_000,
    "upwards": "/static/../../app.py",
    "encoded upwards": "/static/%2e%2e/%2e%2e/app.py",
    "encoded slashes": "/static/..%2f..%2fapp.py",
    "backslashes": "/static/..\\..\\app.py",
    "absolute": "/static//etc/passwd",
    "a folder": "/static/live",
    "a folder with a slash": "/static/live/",
    "undecodable": "/static/%ff%fe",
    "half an escape": "/static/%f",
    "a surrogate": "/static/%ed%a0%80",
    "undecodable elsewhere": "/%ff",
    "NUL elsewhere": "/%00",
    "NUL in an id": "/models/1%00/thumbnail",
    "a long id": "/models/" + "9" * 4_000 + "/thumbnail/file",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_a_path_that_names_nothing_is_404(client: Client, path: str) -> None:
    answer = await exchange(client, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer


@pytest.mark.parametrize("digits", [20, 5_000])
async def test_an_id_of_any_number_of_digits_is_404(client: Client, digits: int) -> None:
    number = "9" * digits
    for path in (
        f"/models/{number}/thumbnail/regenerate",
        f"/models/{number}/thumbnail/upload",
        f"/models/{number}/thumbnail/png-upload",
        f"/thumbnail-jobs/{number}/finish",
        f"/thumbnail-jobs/-{number}/finish",
        f"/api/thumbnail-jobs/{number}/complete",
        f"/api/thumbnail-jobs/{number}/events",
    ):
        answer = await client.post(path)
        assert answer.status == 404, (path[:60], answer.text)


HEADERS = {
    "cookies": b'Cookie: a="; b=\\; =; ;;; c=\xff\x01'.replace(b"\x01", b""),
    "conditions": b'If-None-Match: "\r\nIf-Modified-Since: yesterday\r\nIf-Match: W/\r\nIf-Range: "',
    "a range": b"Range: bytes=99999999999999999999999-",
    "a media type": b"Accept: ;;;,\xff\r\nContent-Type: ;charset=\xff",
    "an origin": b"Origin: \xff",
    "an origin with a port": b"Origin: http://a:99999999",
    "an origin without an end": b"Origin: http://[::1",
    "a host of its own": b"Host: \xff.example",
    "a host without an end": b"Host: [::1",
    "a host with a port": b"Host: a:99999999",
    "a cursor": b"Last-Event-ID: \xff\xfe",
    "an encoding": b"Accept-Encoding: \xff;q=x",
    "a host": b"X: y",
    "an expectation": b"Expect: wonders",
    "an upgrade": b"Connection: upgrade\r\nUpgrade: websocket",
    "a trace": b"traceparent: 00-\xff",
}
ROUTES = [
    b"GET /",
    b"GET /static/live/page.js",
    b"GET /models/1/thumbnail",
    b"GET /models/1/thumbnail/file",
    b"GET /api/thumbnail-jobs",
    b"POST /api/thumbnail-jobs/dequeue",
    b"POST /api/thumbnail-jobs/1/fail",
    b"OPTIONS /api/thumbnail-jobs",
]


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_a_header_that_makes_no_sense_is_no_internal_error(client: Client, header: bytes) -> None:
    for route in ROUTES:
        answer = await exchange(client, route + b" HTTP/1.0\r\n" + header + b"\r\n\r\n")
        assert answer[8:10] in {b" 2", b" 3", b" 4"}, (route, answer)


async def test_a_query_that_makes_no_sense_is_no_internal_error(client: Client) -> None:
    for query in (
        "%00",
        "status=%00",
        "status=%ff",
        "cursor=%ed%a0%80",
        "&&&=",
        "limit=" + "9" * 3_000,
        "cursor=" + "a" * 6_000,
    ):
        answer = await exchange(client, f"GET /api/thumbnail-jobs?{query} HTTP/1.0\r\n\r\n".encode())
        assert answer[8:10] in {b" 2", b" 4"}, (query, answer)
    for query in ("modelId=%00", "modelId=" + "9" * 30, "status=%ff", "after=%00", "queue=%ff", "modelId=1&after=-"):
        answer = await exchange(client, f"GET /api/notifications?{query} HTTP/1.0\r\n\r\n".encode())
        assert answer[8:10] == b" 4", (query, answer)


async def test_bytes_that_are_no_http_are_refused(client: Client) -> None:
    for octet in range(256):
        if chr(octet) in string.ascii_letters + string.digits:
            continue
        with contextlib.suppress(ConnectionError):
            answer = await exchange(client, b"GET /" + bytes([octet]) + b" HTTP/1.0\r\n\r\n")
            assert answer[8:10] in {b" 2", b" 4"}, (octet, answer)
