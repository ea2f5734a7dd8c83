"""Pictures in an object store, beside those in the folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.compatibility.pictures import animated_webp, picture
from tests.compatibility.test_uploads import upload
from tests.gateway.test_files import PNG, complete, file
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.stores.object_store import SECRET, ObjectStore
from tests.support.waiting import eventually
from thumbq_runtime.files.objects import Objects

LARGE = PNG * 3_000


@pytest.fixture
def address(object_store: ObjectStore) -> str:
    return f"{object_store.address}/thumbs"


@pytest.fixture
async def server(database_url: str, address: str) -> AsyncIterator[str]:
    async with running_server(database_url, thumbnail_store=address) as server:
        yield server


@pytest.fixture
async def client(server: str, address: str, thumbnail_root: Path) -> AsyncIterator[Client]:
    async with running_gateway(server, thumbnail_store=address, thumbnail_root=thumbnail_root) as http:
        yield Client(http)


async def uploaded(client: Client, content: bytes, model_id: int = 42) -> str:
    """Upload a picture for a model, and complete its job with it. Return its name."""
    answer = await upload(client, content)
    assert answer.status == 200, answer.text
    name: str = answer.json["thumbnailPath"]
    await complete(client, name, model_id)
    return name


async def readyz(http: aiohttp.ClientSession, expected: str) -> None:
    """Wait until the gateway says this of itself; it is ready all the time."""

    async def says_so() -> bool:
        answer = await Client(http).get("/readyz")
        assert answer.status == 200
        return answer.text == expected

    await eventually(says_so)


async def test_an_uploaded_picture_is_an_object_and_is_served(
    client: Client, object_store: ObjectStore, address: str
) -> None:
    content = animated_webp()
    name = await uploaded(client, content)
    assert object_store.objects() == {name.removeprefix(f"{object_store.address}/"): content}
    assert name.startswith(f"{address}/uploads/")
    assert await uploaded(client, content, 43) == name
    answer = await file(client)
    assert (answer.status, answer.body, answer.content_type) == (200, content, "image/webp")
    assert answer.headers["Content-Disposition"] == 'inline; filename="model-42.webp"'
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    tag = answer.headers["ETag"]
    again = await file(client, **{"If-None-Match": tag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    head = await file(client, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(content)))
    refused = await upload(client, b"<svg onload=alert(1)>")
    assert (refused.status, len(object_store.objects())) == (400, 1)
    still = await upload(client, picture("PNG"), path="png-upload")
    assert object_store.objects()[still.json["pngThumbnailPath"].removeprefix(f"{object_store.address}/")] == picture(
        "PNG"
    )


async def test_ranges_of_a_large_picture_come_as_they_are_asked_for(client: Client, address: str) -> None:
    await complete(client, await Objects(address).put("large.png", LARGE, "image/png"))
    whole = await file(client)
    assert (whole.status, whole.body) == (200, LARGE)
    for wanted, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=262143-262144", 262143, 262145),
        ("bytes=200000-2500000", 200_000, 2_500_001),
        ("bytes=2000000-", 2_000_000, len(LARGE)),
        ("bytes=-8", len(LARGE) - 8, len(LARGE)),
    ):
        answer = await file(client, **{"Range": wanted, "If-Range": whole.headers["ETag"]})
        assert (answer.status, answer.body) == (206, LARGE[start:end])
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"
    beyond = await file(client, Range="bytes=99999999-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(LARGE)}")


async def test_both_places_are_served_and_nothing_beside_them(
    client: Client, object_store: ObjectStore, address: str, thumbnail_root: Path
) -> None:
    (thumbnail_root / "older.png").write_bytes(PNG)
    await complete(client, thumbnail_root / "older.png")
    assert (await file(client)).body == PNG
    await complete(client, f"{address}/missing.png", 43)
    answer = await file(client, 43)
    assert (answer.status, answer.json["message"]) == (404, "Model 43 has no thumbnail file.")
    await Objects(object_store.address).put("secret", b"secret", "image/png")
    await client.enqueue(44)
    job = await client.dequeue()
    for name in (
        f"{object_store.address}/secret",
        f"{address}/../secret",
        f"{address}//a",
        f"{address}",
        "s3://other/a",
    ):
        body = {"thumbnailPath": name, "sizeBytes": 6, "width": 1, "height": 1}
        refused = await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", body)
        assert (refused.status, "thumbnailPath" in refused.text) == (400, True)
    assert (await file(client, 44)).status == 404


async def test_a_client_may_be_sent_to_the_store(client: Client, server: str, address: str) -> None:
    content = animated_webp()
    await uploaded(client, content)
    async with running_gateway(server, thumbnail_store=address, thumbnail_redirect=True) as http:
        async with http.get("/models/42/thumbnail/file", allow_redirects=False) as redirection:
            assert (redirection.status, redirection.headers["Cache-Control"]) == (302, "private, max-age=60")
            assert SECRET not in redirection.headers["Location"]
            assert "X-Amz-Expires=600" in redirection.headers["Location"]
        async with http.get("/models/42/thumbnail/file", headers={"Range": "bytes=2-5"}) as answer:
            assert (await answer.read(), answer.content_type) == (content[2:6], "image/webp")
        head = await file(Client(http), method="HEAD")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(content)))


async def test_a_store_that_is_away_is_said_so_and_comes_back(
    client: Client, object_store: ObjectStore, server: str, address: str, thumbnail_root: Path
) -> None:
    content = animated_webp()
    await uploaded(client, content)
    (thumbnail_root / "older.png").write_bytes(PNG)
    await complete(client, thumbnail_root / "older.png", 43)
    object_store.stop()
    away = "The object store cannot be reached, or is broken."
    for answer in (await file(client), await upload(client, content)):
        assert (answer.status, answer.json["message"], answer.headers["Retry-After"]) == (503, away, "1")
    assert (await file(client, 43)).body == PNG
    async with running_gateway(server, thumbnail_store=address) as http:
        await readyz(http, f"Ready, but without the pictures. {away}")
        object_store.start()
        assert (await file(client)).body == content
        assert (await upload(client, content)).status == 200


async def test_wrong_credentials_are_named_and_never_shown(
    object_store: ObjectStore,
    server: str,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-9b1c")
    refuses = "The object store does not accept the credentials, or they do not allow this."
    async with running_gateway(server, thumbnail_store=address) as http:
        answer = await upload(Client(http), animated_webp())
        assert (answer.status, answer.json["message"]) == (503, refuses)
        await readyz(http, f"Ready, but without the pictures. {refuses}")
    written = "".join(capfd.readouterr())
    assert "wrong-secret-9b1c" not in written
    assert object_store.objects() == {}
