"""Every answer tells browsers not to guess its type, to frame it or to run it; JSON must be sent as JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from tests.compatibility.pictures import picture
from tests.support.network.http_client import Client, digest
from tests.support.service.gateway import running_gateway
from thumbq_gateway.app import register
from thumbq_gateway.http.browsers.answer_headers import EVERY_ANSWER
from thumbq_gateway.parts import build
from thumbq_gateway.settings import Settings

ENQUEUE = "/api/thumbnail-jobs"


async def routes(models: Path) -> set[tuple[str, str]]:
    """Return every route of a gateway with an example of its path. A route that is added later is one of them."""
    settings = Settings(http_port=0, server="127.0.0.1:1", model_root=models)
    async with grpc.aio.insecure_channel(settings.server) as channel:
        parts = build(settings, channel)
        async with aclosing(parts.forwarder):
            app = register(parts, settings, channel)
    paths = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return {("GET" if method == "*" else method, _example(path)) for method, path in paths}


def _example(path: str) -> str:
    parts = ["live/page.js" if part == "{path}" else "7" if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


async def test_every_route_answers_with_the_headers(server: str, tmp_path: Path) -> None:
    tried = await routes(tmp_path)
    assert len(tried) > 60
    async with running_gateway(server, model_root=tmp_path) as http:
        for method, path in sorted(tried):
            async with http.request(method, path, allow_redirects=False) as answer:
                missing = EVERY_ANSWER.keys() - answer.headers.keys()
                assert not missing, (method, path, answer.status)
                assert answer.headers["Server"] == "thumbq", path  # no program and no version
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], (method, path)


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("DELETE", ENQUEUE, {}, 405),
        ("GET", ENQUEUE, {"Host": "evil.example"}, 403),
        ("POST", ENQUEUE, {"Origin": "https://evil.example"}, 403),
        ("POST", ENQUEUE, {}, 400),
    ],
)
async def test_refusals_have_them_too(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with client.http.request(method, path, headers=headers) as answer:
        assert answer.status == status
        assert {name: answer.headers[name] for name in EVERY_ANSWER} == EVERY_ANSWER


async def test_a_stream_has_them_and_a_preflight_of_a_listed_origin_too(server: str) -> None:
    async with running_gateway(server, cors_origins="https://app.example") as http:
        async with http.get("/api/notifications") as stream:
            assert (stream.status, stream.headers["X-Frame-Options"]) == (200, "DENY")
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        async with http.options(ENQUEUE, headers=asked) as preflight:
            assert (preflight.status, preflight.headers["X-Content-Type-Options"]) == (204, "nosniff")


async def test_a_page_elsewhere_may_show_a_picture_but_not_run_or_frame_it(
    client: Client, thumbnail_root: Path
) -> None:
    (thumbnail_root / "a.png").write_bytes(picture("PNG"))
    job_id = await client.enqueue(42)
    await client.dequeue()
    report = {"thumbnailPath": str(thumbnail_root / "a.png"), "sizeBytes": 1, "width": 1, "height": 1}
    assert (await client.post(f"{ENQUEUE}/{job_id}/complete", report)).status == 200
    headers = (await client.get("/models/42/thumbnail/file")).headers
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"


@pytest.fixture
async def application() -> AsyncIterator[str]:
    """The address of an application that answers every path."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="mine")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_application_behind_keeps_its_own_headers(server: str, application: str) -> None:
    async with (
        running_gateway(server, upstream=application) as http,
        http.get("/its/own/page") as answer,
    ):
        assert (answer.status, EVERY_ANSWER.keys() & answer.headers.keys()) == (200, set())


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/octet-stream", 200),
        ("text/plain", 415),
        ("text/plain;charset=UTF-8", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
async def test_a_body_as_forms_send_it_changes_nothing(client: Client, content_type: str, status: int) -> None:
    body = json.dumps({"modelId": 42, "modelHash": digest(42)})
    answer = await client.post(ENQUEUE, data=body, headers={"Content-Type": content_type})
    assert answer.status == status, answer.text
    assert ("application/json" in answer.text) is (status == 415)
    assert len((await client.get(ENQUEUE)).json["jobs"]) == (status == 200)


async def test_a_worker_may_leave_the_type_out_and_send_no_body(client: Client) -> None:
    job = await client.enqueue()
    untyped = await client.http.post(
        f"{ENQUEUE}/dequeue", data=b'{"workerId": "w"}', skip_auto_headers=["Content-Type"]
    )
    assert (await untyped.json())["id"] == job
    for content_type in ("text/plain;charset=UTF-8", "application/x-www-form-urlencoded"):
        empty = await client.post(f"{ENQUEUE}/dequeue", headers={"Content-Type": content_type})
        assert (empty.status, empty.text) == (400, "WorkerId is required")
