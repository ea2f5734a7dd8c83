"""Pictures may be kept, and a kept one is never wrong."""

from pathlib import Path

from tests.compatibility.pictures import picture
from tests.support.network.http_client import Client


async def render(client: Client, path: Path, content: bytes, **fields: object) -> str:
    """Make the picture of model 42, and return its address from the event."""
    path.write_bytes(content)
    async with client.listen(f"modelId=42&status=Ready&after={await client.cursor()}") as page:
        await client.enqueue(42, **fields)
        job = await client.dequeue()
        body = {"thumbnailPath": str(path), "sizeBytes": len(content), "width": 64, "height": 48}
        assert (await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", body)).status == 200
        url: str = (await page.event()).data["thumbnailUrl"]
        return url


async def test_an_address_with_the_version_may_be_kept_for_a_day(client: Client, thumbnail_root: Path) -> None:
    url = await render(client, thumbnail_root / "a", picture("PNG"))
    assert url == (await client.get("/models/42/thumbnail")).json["fileUrl"]
    answer = await client.get(url)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=86400, immutable")
    assert answer.headers["ETag"].startswith('"')


async def test_another_picture_has_another_address_and_the_old_one_is_not_kept_for_it(
    client: Client, thumbnail_root: Path
) -> None:
    first = await render(client, thumbnail_root / "a", picture("PNG"))
    second = await render(client, thumbnail_root / "b", picture("JPEG"), force=True)
    assert first != second
    late = await client.get(first)  # a page asks for it just before the second event
    assert (late.body, late.headers["Cache-Control"]) == (picture("JPEG"), "public, max-age=60")
    assert (await client.get(second)).headers["Cache-Control"] == "public, max-age=86400, immutable"


async def test_the_documented_address_stays_valid_and_ends_the_loop_of_generation_1(
    client: Client, thumbnail_root: Path
) -> None:
    await render(client, thumbnail_root / "a", picture("PNG"))
    answer = await client.get("/models/42/thumbnail/file")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=60")
