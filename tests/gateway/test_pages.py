"""The live page, the description of the API, and pages of other origins."""

import re

import pytest

from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import running_gateway


@pytest.mark.changes_nothing
async def test_the_live_page_and_all_that_it_loads_come_from_here(client: Client) -> None:
    page = await client.get("/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html")
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert loaded
    for path in loaded:
        assert (await client.get(path)).status == 200, path


@pytest.mark.changes_nothing
async def test_pages_may_load_nothing_from_elsewhere(client: Client) -> None:
    for path in ("/", "/static/live/page.js"):
        headers = (await client.get(path)).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.changes_nothing
async def test_nothing_beside_the_page_is_served(client: Client) -> None:
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/", "/static/none.js"):
        assert (await client.get(path)).status == 404, path


@pytest.mark.changes_nothing
async def test_the_api_describes_itself(client: Client) -> None:
    document = (await client.get("/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    dequeue = document["paths"]["/api/thumbnail-jobs/dequeue"]["post"]
    assert dequeue["responses"].keys() == {"200", "204", "default"}
    assert dequeue["responses"]["default"]["content"].keys() == {"text/plain"}
    complete = document["paths"]["/api/thumbnail-jobs/{jobId}/complete"]["post"]
    body = complete["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body.keys() == {"thumbnailPath", "sizeBytes", "width", "height", "leaseToken"}
    assert [(found["name"], found["in"]) for found in complete["parameters"]] == [("jobId", "path")]
    shown = document["paths"]["/models/{modelId}/thumbnail"]["get"]["responses"]["200"]["content"]["application/json"]
    assert "path" not in shown["schema"]["properties"]
    listing = document["paths"]["/api/thumbnail-jobs"]["get"]
    assert [found["name"] for found in listing["parameters"]] == ["status", "modelId", "pageSize", "pageToken"]


@pytest.mark.changes_nothing
async def test_every_reference_of_the_description_leads_somewhere(client: Client) -> None:
    answer = await client.get("/openapi.json")
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', answer.text)):
        assert answer.json["components"]["schemas"][name]


@pytest.mark.changes_nothing
async def test_the_description_can_be_read_by_people(client: Client) -> None:
    page = await client.get("/docs")
    assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
    assert "/api/thumbnail-jobs/{jobId}/complete" in page.text


PAGE = "https://models.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.mark.changes_nothing
async def test_pages_of_other_origins_are_not_let_in_unasked(client: Client) -> None:
    answer = await ask(client.http, "OPTIONS", "/api/thumbnail-jobs", headers=PREFLIGHT)
    assert answer.status == 405
    assert "Access-Control-Allow-Origin" not in (await client.get("/healthz", headers=PREFLIGHT)).headers


async def test_pages_of_named_origins_may_ask_and_listen(server: str) -> None:
    async with running_gateway(server, cors_origins=f"{PAGE}/, https://other.example") as http:
        client = Client(http)
        preflight = await ask(http, "OPTIONS", "/api/thumbnail-jobs", headers=PREFLIGHT)
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        for name in ("Content-Type", "traceparent"):
            assert name in preflight.headers["Access-Control-Allow-Headers"]
        answer = await client.get("/nowhere", headers={"Origin": PAGE})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (
            404,
            PAGE,
            "Origin",
        )
        async with client.listen(Origin=PAGE) as page:
            assert page.response.headers["Access-Control-Allow-Origin"] == PAGE
        stranger = await client.get("/healthz", headers={"Origin": "https://stranger.example"})
        assert "Access-Control-Allow-Origin" not in stranger.headers


async def test_a_page_of_another_origin_may_come_back_with_its_cursor_and_be_told_to_wait(server: str) -> None:
    """EventSource may send its header without a preflight; a client that uses fetch may not."""
    headers = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
    async with running_gateway(server, cors_origins=PAGE, subscriber_limit=1) as http:
        client = Client(http)
        preflight = await ask(http, "OPTIONS", "/api/notifications", headers={"Origin": PAGE, **headers})
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Last-Event-ID" in preflight.headers["Access-Control-Allow-Headers"]
        async with client.listen():
            answer = await client.get("/api/notifications", headers={"Origin": PAGE})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (503, PAGE)
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


async def test_all_origins_may_be_let_in(server: str) -> None:
    async with running_gateway(server, cors_origins="*") as http:
        answer = await Client(http).get("/healthz", headers={"Origin": PAGE})
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
