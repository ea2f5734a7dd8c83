"""The picture: served with ranges and validators, and never from outside the thumbnail root."""

import os
from pathlib import Path

import pytest

from tests.support.network.http_client import Answer, Client, ask
from tests.support.service.gateway import running_gateway
from thumbq_gateway.http.files.open_file import open_below
from thumbq_gateway.http.files.thumbnails import content_type
from thumbq_runtime.files.folders import step_into

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200)) * 5


async def complete(client: Client, path: Path | str, model_id: int = 42) -> None:
    """Complete a job of the model with a picture at this path."""
    await client.enqueue(model_id)
    job = await client.dequeue()
    body = {"thumbnailPath": str(path), "sizeBytes": len(PNG), "width": 512, "height": 512}
    answer = await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", body)
    assert answer.status == 200, answer.text


@pytest.fixture
async def picture(client: Client, thumbnail_root: Path) -> Path:
    """Write the picture of model 42. Like real ones, its name has no extension."""
    path = thumbnail_root / "de" / "debbbb1c"
    path.parent.mkdir()
    path.write_bytes(PNG)
    await complete(client, path)
    return path


async def file(client: Client, model_id: int = 42, method: str = "GET", **headers: str) -> Answer:
    return await ask(client.http, method, f"/models/{model_id}/thumbnail/file", headers=headers)


@pytest.mark.usefixtures("picture")
async def test_the_picture_is_served_with_its_type_and_tags(client: Client) -> None:
    answer = await file(client)
    assert (answer.status, answer.body, answer.content_type) == (200, PNG, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"]
    assert answer.headers["Last-Modified"]
    assert answer.headers["Cache-Control"] == "public, max-age=60"


async def test_a_known_picture_is_not_sent_again_until_it_changes(client: Client, picture: Path) -> None:
    tag = (await file(client)).headers["ETag"]
    again = await file(client, **{"If-None-Match": tag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    picture.write_bytes(PNG + b"more")
    changed = await file(client, **{"If-None-Match": tag})
    assert (changed.status, changed.body) == (200, PNG + b"more")


@pytest.mark.usefixtures("picture")
@pytest.mark.parametrize(
    ("wanted", "start", "end"), [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-8", len(PNG) - 8, None)]
)
async def test_a_range_is_served(client: Client, wanted: str, start: int, end: int | None) -> None:
    answer = await file(client, Range=wanted)
    assert (answer.status, answer.body) == (206, PNG[start:end])
    last = (end or len(PNG)) - 1
    assert answer.headers["Content-Range"] == f"bytes {start}-{last}/{len(PNG)}"


@pytest.mark.usefixtures("picture")
async def test_a_range_beyond_the_end_is_refused(client: Client) -> None:
    answer = await file(client, Range="bytes=99999-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(PNG)}")


@pytest.mark.usefixtures("picture")
async def test_head_tells_the_size_without_the_bytes(client: Client) -> None:
    answer = await file(client, method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(PNG)))


async def test_a_model_without_a_picture_has_no_file(client: Client) -> None:
    answer = await file(client)
    assert (answer.status, answer.json["message"]) == (404, "Model 42 has no thumbnail file.")
    await client.enqueue(42)
    assert (await file(client)).status == 404


async def test_a_file_that_is_gone_is_404(client: Client, picture: Path) -> None:
    picture.unlink()
    assert (await file(client)).status == 404


async def test_a_failed_new_render_keeps_the_last_good_picture(client: Client, picture: Path) -> None:
    await client.enqueue(42, force=True)
    job = await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job['id']}/fail", {"errorMessage": "no triangles"})
    assert (await client.get("/models/42/thumbnail")).json["status"] == "Failed"
    assert (await file(client)).body == PNG


async def test_a_file_outside_the_root_is_never_served(client: Client, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(PNG)
    await complete(client, outside)
    assert (await file(client)).status == 404


async def test_a_link_that_leads_outside_is_not_followed(client: Client, picture: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(b"secret")
    picture.unlink()
    picture.symlink_to(outside)
    answer = await file(client)
    assert (answer.status, b"secret" in answer.body) == (404, False)


async def test_a_folder_that_is_a_link_outside_is_not_followed(
    client: Client, picture: Path, thumbnail_root: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    picture.parent.rename(elsewhere)
    (thumbnail_root / "de").symlink_to(elsewhere)
    assert (await file(client)).status == 404


async def test_a_link_within_the_root_is_followed(client: Client, picture: Path, thumbnail_root: Path) -> None:
    picture.rename(thumbnail_root / "real")
    picture.symlink_to(thumbnail_root / "real")
    assert (await file(client)).body == PNG


async def test_without_a_root_no_file_is_served(server: str, client: Client, picture: Path) -> None:
    assert (await file(client)).status == 200
    async with running_gateway(server) as http:
        assert (await file(Client(http))).status == 404


async def test_no_open_file_is_left_behind(client: Client, picture: Path) -> None:
    def open_pictures() -> list[Path]:
        links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return [link for link in links if link == picture]

    await file(client)
    await file(client, Range="bytes=0-3")
    await file(client, Range="bytes=9999-")
    await file(client, 42, "GET", **{"If-None-Match": "*"})
    assert open_pictures() == []


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "", ".", "a\0b", "folder", "pipe", "circle", "circle/x"]
)
def test_only_regular_files_below_the_root_are_opened(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "a").mkdir()
    os.mkfifo(root / "pipe")
    (root / "circle").symlink_to("circle")
    (tmp_path / "secret").write_text("secret")
    with pytest.raises((OSError, ValueError)):
        open_below(root, path)


def test_a_link_that_appears_after_the_look_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match="symbolic links"):
        step_into(folder, "link", 0)


def test_a_root_that_is_a_link_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(PNG)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with open_below(tmp_path / "root", str(tmp_path / "root" / "a.png")) as file:
        assert file.read() == PNG


@pytest.mark.parametrize(
    ("start", "path", "expected"),
    [
        (PNG, "a", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a.png", "image/webp"),
        (b"\xff\xd8\xff\xe0", "a", "image/jpeg"),
        (b"?", "a.PNG", "image/png"),
        (b"<html>", "a.html", "application/octet-stream"),
        (b"<svg>", "a.svg", "application/octet-stream"),
        (b"", "a", "application/octet-stream"),
    ],
)
def test_nothing_that_a_browser_would_run_is_called_by_its_name(start: bytes, path: str, expected: str) -> None:
    assert content_type(start, path) == expected


async def test_a_saved_picture_has_a_name_with_its_suffix(client: Client, picture: Path) -> None:
    assert picture.suffix == ""
    assert (await file(client)).headers["Content-Disposition"] == 'inline; filename="model-42.png"'


@pytest.mark.usefixtures("picture")
@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=5-2", "lines=1-2", "bytes=", "bytes=a-b"])
async def test_a_range_that_is_none_is_ignored(client: Client, wanted: str) -> None:
    answer = await file(client, Range=wanted)
    assert (answer.status, answer.body) == (200, PNG)


async def test_a_download_that_goes_on_after_a_change_begins_again(client: Client, picture: Path) -> None:
    tag = (await file(client)).headers["ETag"]
    assert (await file(client, **{"Range": "bytes=4-", "If-Range": tag})).status == 206
    picture.write_bytes(PNG + b"more")
    answer = await file(client, **{"Range": "bytes=4-", "If-Range": tag})
    assert (answer.status, answer.body) == (200, PNG + b"more")


async def test_a_large_picture_comes_whole(client: Client, picture: Path) -> None:
    large = PNG * 3_000
    picture.write_bytes(large)
    assert (await file(client)).body == large
    assert (await file(client, Range="bytes=200000-2500000")).body == large[200_000:2_500_001]
