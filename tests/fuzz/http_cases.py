"""Cases for the gateway: whole requests with odd content, and bytes that are no request at all."""

import gzip
import json
import random
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.fuzz.case import Case, Channel, Ending
from tests.fuzz.http_requests import ROUTES, Request, fill_in, right_request
from tests.fuzz.hub_cases import hub_call, socket, upload
from tests.fuzz.values import ODD_TEXTS, Values, garble

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 40]
_ODD_JSON: list[Any] = [
    None, True, [], {}, [[]], "", "\0", "\ud800", "x" * 5000, 0, -1, 1.5, 1e400, 2**63, -(2**63) - 1, 10**400,
    "NaN", "9007199254740993.0", "1e3", "0x10", "1s", "-1s", "1.0000000001s", "315576000001s", {"a": 1},
]  # fmt: skip
_LITERALS = ["9007199254740993.0", "1e400", "NaN", "-Infinity", "1E3", "-0", "1.0", "9" * 5000]
_HEADERS = [
    "Accept: application/x-ndjson", "Accept: text/event-stream;q=0", "Accept: \xff", "Content-Type: text/plain",
    "Content-Type: application/json; charset=utf-16", "Content-Type: application/json; charset=nonsense",
    "Content-Type: multipart/form-data; boundary=x", "Content-Type: ;;;", "Origin: null", "Origin: http://a.example",
    "Access-Control-Request-Method: PUT", "Expect: 100-continue", "Expect: nonsense", "Upgrade: websocket",
    "Connection: upgrade", "Upgrade: h2c", "Last-Event-ID: 0-0", "Last-Event-ID: \xe9\xff", "Last-Event-ID: a-b-c",
    "Range: bytes=0-0", "Range: bytes=5-1", "Range: bytes=-99999999999999999999", "Range: nonsense",
    "If-None-Match: *", "If-None-Match: \"a\", W/\"b\"", "If-Modified-Since: yesterday", "If-Range: x",
    "Cookie: a=b; c", "Cookie: " + "k=v; " * 500, "X-Long: " + "x" * 9000, "Transfer-Encoding: gzip, chunked",
    "Accept-Encoding: br;q=x", "Authorization: Basic ====", "Host: ", "Host: [::1", "Forwarded: for=\"",
]  # fmt: skip


def http_case(values: Values) -> Case:
    """Return the next case for the gateway."""
    makers: list[tuple[int, Callable[[Values], Case]]] = [
        (10, _call),
        (5, _odd_json),
        (3, _encoded),
        (4, _odd_path),
        (4, _odd_headers),
        (3, _malformed),
        (2, _broken_off),
        (2, _two_at_once),
        (3, _notifications),
        (1, _large),
        (3, socket),
        (2, hub_call),
        (2, upload),
    ]
    (maker,) = values.chance.choices([maker for _, maker in makers], [weight for weight, _ in makers])
    return maker(values)


def _call(values: Values) -> Case:
    path, request = right_request(values)
    return Case(Channel.HTTP, path, "odd fields" if values.oddness else "as documented", request.pieces())


def _odd_json(values: Values) -> Case:
    """Replace values of the body by ones of other types and sizes."""
    path, request = right_request(values)
    chance = values.chance
    content = _with_odd_values(chance, json.loads(request.body or b"{}"))
    text = json.dumps(content)
    match chance.randrange(6):
        case 0:
            text = re.sub(r"\b\d+\b", lambda found: chance.choice([found[0], chance.choice(_LITERALS)]), text)
        case 1:
            text = text[: chance.randrange(len(text) + 1)]
        case 2:
            text = "[" * chance.choice([10, 1000, 100_000])
        case 3:
            text = text.replace("{", '{"modelId": 1, "modelId": 2, "unknown": [{}], ', 1)
        case _:
            pass
    request.body = text.encode("utf-8", "surrogatepass")
    return Case(Channel.HTTP, path, "odd JSON", request.pieces())


def _with_odd_values(chance: random.Random, value: Any) -> Any:
    if chance.random() < 0.25:
        return chance.choice(_ODD_JSON)
    if isinstance(value, dict):
        return {name: _with_odd_values(chance, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_odd_values(chance, each) for each in value]
    return value


def _encoded(values: Values) -> Case:
    """Encode the body in one way and name perhaps another."""
    path, request = right_request(values)
    chance = values.chance
    body = request.body or b"{}"
    text = body.decode()
    bodies = [
        gzip.compress(body), zlib.compress(body), gzip.compress(b" " * 20_000_000), text.encode("utf-16"),
        b"\xef\xbb\xbf" + body, text.encode("utf-32"), b"\xff\xfe\xfd", b"\x80" + body, body,
    ]  # fmt: skip
    request.body = chance.choice(bodies)
    if chance.random() < 0.3:
        request.body = request.body[: len(request.body) // 2]
    encoding = chance.choice(["gzip", "deflate", "br", "zstd", "identity", "nonsense", "gzip, gzip", "GZIP", ""])
    request.headers.append(f"Content-Encoding: {encoding}")
    return Case(Channel.HTTP, path, f"Content-Encoding {encoding}", request.pieces())


def _odd_path(values: Values) -> Case:
    path, request = right_request(values)
    chance = values.chance
    additions = [
        "?" + "&".join(f"{quote(chance.choice(ODD_TEXTS))}={quote(chance.choice(ODD_TEXTS))}" for _ in range(3)),
        "?modelId=" + "1," * 3000, "?status=Ready&status=&status=7", "?wait=1e400s", "?" + "a" * 7000, "/", "//", "/..",
        "/%2e%2e/%2e%2e/etc/passwd", "%00", "%ff", "%", "%zz", "/" + "x" * 256, "/" + "x" * 7000, "#a", ";v=1", "\xe9",
        "?a[]=1&a=2", "?x=%ff%fe", "?pageToken=%00", "?pageSize=99999999999999999999", "?=&=&&",
    ]  # fmt: skip
    request.target += chance.choice(additions)
    if chance.random() < 0.1:
        request.target = chance.choice(["*", "http://[::1/x", "//", "x", "http://a.example/healthz", "/\t", "?"])
    return Case(Channel.HTTP, path, "odd path", request.pieces())


def _odd_headers(values: Values) -> Case:
    path, request = right_request(values)
    request.headers += values.chance.choices(_HEADERS, k=values.chance.randrange(1, 4))
    if values.chance.random() < 0.5:
        request.method = values.chance.choice(_METHODS)
    return Case(Channel.HTTP, path, "odd headers or method", request.pieces())


def _malformed(values: Values) -> Case:
    path, request = right_request(values)
    chance = values.chance
    match chance.randrange(4):
        case 0:
            return Case(Channel.HTTP, path, "garbage", (chance.randbytes(chance.randrange(1, 400)),), Ending.HALF_CLOSE)
        case 1:
            pieces = (*request.pieces()[:-1], b"Content-Length: " + chance.choice([b"-1", b"1e3", b"9" * 30]) + b"\r\n")
            return Case(Channel.HTTP, path, "odd length", (*pieces, b"\r\n{}"), Ending.HALF_CLOSE)
        case 2:
            request.sends_length = False
            request.headers.append("Transfer-Encoding: chunked")
            chunk = chance.choice(
                [b"zz\r\n{}\r\n", b"fffffffffffffffff\r\n", b"2\r\n{}XX0\r\n\r\n", b"2;x=y\r\n{}\r\n0\r\n\r\n"]
            )
            request.body = chunk
            return Case(Channel.HTTP, path, "odd chunks", request.pieces(), Ending.HALF_CLOSE)
        case _:
            pieces = tuple(garble(chance, piece) if chance.random() < 0.4 else piece for piece in request.pieces())
            return Case(Channel.HTTP, path, "garbled", pieces, Ending.HALF_CLOSE)


def _broken_off(values: Values) -> Case:
    """Send a part of a request, and go."""
    path, request = right_request(values)
    whole = b"".join(request.pieces())
    part = whole[: values.chance.randrange(len(whole) + 1)]
    ending = values.chance.choice([Ending.HALF_CLOSE, Ending.HANG_UP])
    return Case(Channel.HTTP, path, "broken off", (part,), ending)


def _two_at_once(values: Values) -> Case:
    (path, first), (_, second) = right_request(values), right_request(values)
    ending = values.chance.choice([Ending.WAIT, Ending.HANG_UP])
    return Case(Channel.HTTP, path, "two requests at once", (*first.pieces(), *second.pieces()), ending)


def _notifications(values: Values) -> Case:
    chance = values.chance
    models = ",".join(
        str(values.integer("model_id", [0, -1, 2**31, 2**63])) for _ in range(chance.choice([1, 5, 1500]))
    )
    parts = [
        f"modelId={models}", f"after={quote(values.text('after'))}", "queue=true",
        f"status={quote(values.text('status'))}",
    ]  # fmt: skip
    query = "&".join(chance.sample(parts, chance.randrange(len(parts) + 1)))
    request = Request("GET", f"/api/notifications?{query}")
    if values.is_odd:
        request.headers.append(f"Last-Event-ID: {quote(values.text('after'))}")
    return Case(
        Channel.HTTP, "/api/notifications", "odd query", request.pieces(), Ending.WAIT, reads=chance.random() < 0.8
    )


def _large(values: Values) -> Case:
    """Send a body of the size that the gateway allows, with as many parts as fit, or far more than it allows."""
    chance = values.chance
    size = chance.choice([1 << 20, 4_200_000, 8_000_000, 16_000_000, 40_000_000])
    route = chance.choice([route for route in ROUTES if route.takes_body])
    name, item = chance.choice(
        [("jobs", "{}"), ("results", "{}"), ("jobs", "1"), ("results", '{"leaseToken":"1-1"}'), ("x", "[]"), ("x", "0")]
    )
    count = size // (len(item) + 1)
    bodies = [
        f'{{"{name}":[{",".join([item] * count)}]}}',
        "{" + ",".join(f'"k{number}":0' for number in range(size // 10)) + "}",
        f'{{"workerId":"{"x" * size}"}}',
        '{"thumbnailPath":"' + "\\u0000" * (size // 6) + '"}',
        " " * size,
    ]
    request = Request(route.http_method, fill_in(values, route.path), body=chance.choice(bodies).encode())
    return Case(Channel.HTTP, route.path, f"body of {len(request.body):,} bytes", request.pieces())
