"""What a stranger scans with: requests sent letter by letter, things that are no key, and ways round a door."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from structlog.testing import capture_logs
from yarl import URL

from tests.gateway.access.test_keys import Guarded
from tests.support.service.keys import bearer, prefix_of
from thumbq.v1 import admin_pb2
from thumbq.v1.admin_pb2_grpc import AdminServiceStub

AT_ONCE = 20
UNKNOWN_KEY = "tq_00000000_" + "x" * 43

OUT_OF_THE_FOLDER = [
    *("../parts.py", "%2e%2e/parts.py", "..%2fparts.py", "%2e%2e%2fparts.py", "....//parts.py", "..%5cparts.py"),
    *("/etc/passwd", "%2fetc%2fpasswd", "console/../../parts.py", "console/index.html%00", "%c0%ae%c0%ae/parts.py"),
    *("console", "console/", "", ".", "%2e", "console/index.html/", "console/index.html%20", "%252e%252e/parts.py"),
]
BELIEVE_ME = {
    **dict.fromkeys(("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"), "GET"),
    **dict.fromkeys(("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path"), "/healthz"),
    **dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Client-IP"), "127.0.0.1"),
    **dict.fromkeys(("X-Remote-User", "X-Forwarded-User", "X-SSL-Client-S-DN"), "CN=admin"),
    "Forwarded": "for=127.0.0.1;host=localhost;proto=https",
    "X-Forwarded-Host": "localhost",
    "X-Forwarded-Proto": "https",
    "X-Thumbq-Forwarded": "1",
    "Sec-Fetch-Site": "same-origin",
    "thumbq-caller": "prefix=00000000",
}


@dataclass
class Scan:
    """The queue that is tried, and what its caller may show for a key."""

    queue: Guarded
    http: aiohttp.ClientSession
    worthless: dict[str, dict[str, str]]
    secrets: list[str]

    async def ask(self, method: str, target: str, headers: dict[str, str]) -> int:
        """Send a request with this target, letter by letter. The answer is no failure, and has no secret in it."""
        url = URL(f"{str(self.queue.http._base_url).rstrip('/')}{target}", encoded=True)
        async with self.http.request(method, url, headers=headers, allow_redirects=False) as answer:
            body = "" if answer.content_type == "text/event-stream" else await answer.text(errors="replace")
        assert answer.status < 500, (method, target, headers)
        self.check(f"{answer.headers}{body}")
        return answer.status

    async def ask_all(self, requests: Iterable[tuple[str, str, dict[str, str]]]) -> list[tuple[str, str, int]]:
        """Return what each request was answered."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(method: str, target: str, headers: dict[str, str]) -> tuple[str, str, int]:
            async with room:
                return method, target, await self.ask(method, target, headers)

        return await asyncio.gather(*(one(*request) for request in requests))

    def check(self, text: str) -> None:
        """Look for the secrets. A prefix is none."""
        assert not [secret for secret in self.secrets if secret in text], text

    @contextmanager
    def in_no_log(self) -> Iterator[None]:
        with capture_logs() as lines:
            yield
        self.check(str(lines))

    async def left_as_it_was(self) -> None:
        """The queue is empty and not paused, its keys are the same, and the audit log has no secret."""
        stub = AdminServiceStub(self.queue.admins)
        stats = await stub.GetStats(admin_pb2.GetStatsRequest())
        assert (stats.pending, stats.processing, stats.paused) == (0, 0, False)
        keys = (await stub.ListKeys(admin_pb2.ListKeysRequest())).keys
        assert (
            len([key for key in keys if not key.HasField("revoked_at")]) == len(self.queue.keys) + 1
        )  # an expired one
        self.check(str(await stub.ListAudit(admin_pb2.ListAuditRequest())))


def worthless(admin: str, expired: str, revoked: str, ticket: str) -> dict[str, dict[str, str]]:
    """Return what a caller shows that is no key, or is none at this place."""
    return {
        "nothing": {},
        "an unknown key": bearer(UNKNOWN_KEY),
        "another secret of an admin": bearer(f"tq_{prefix_of(admin)}_{'x' * 43}"),
        "half of a key": {"x-api-key": admin[:-1]},
        "two keys in one": {"x-api-key": f"{admin},{admin}"},
        "an expired key": bearer(expired),
        "a revoked key": {"x-api-key": revoked},
        "a changed ticket": bearer(ticket[:-4] + ("AAAA" if ticket[-4:] != "AAAA" else "BBBB")),
        "a key as a password": {"authorization": f"Basic {admin}"},
        "a key in other headers": dict.fromkeys(("api-key", "x-auth-token", "proxy-authorization", "cookie"), admin),
    }


def detours(path: str) -> list[str]:
    """Return ways round a door that looks at a path."""
    befores = ("/", "/.", "/%2e", "/%00", "/static/..", "/static/%2e%2e", "/healthz/..", "/docs/%2e%2e", "/healthz;")
    afters = ("/", "/.", "//", "%00", "%20", "%2f", ";a=b", ".json", "~", "/..%2f")
    slashes = ("//", "/./", "%2f", "%5c", "\\", "/%2e/", "/;/")
    return [
        *(before + path for before in befores),
        *(path + after for after in afters),
        *("/" + path[1:].replace("/", slash) for slash in slashes),
        path.upper(),
        f"/healthz/..%2f{path[1:]}",
        f"/%{path[1:].encode().hex('%')}",
    ]


def example(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "7", path)
