"""Pictures that workers bring: checked by their content, kept whole, and served again."""

import asyncio
import hashlib
import io
import os
import stat
from pathlib import Path

import aiohttp
import pytest

from tests.compatibility.pictures import animated_webp, picture
from tests.support.network.http_client import Answer, Client, ask
from tests.support.service.gateway import running_gateway

PICTURES = {
    "thumbnail.webp": (animated_webp(), "image/webp"),
    "still.webp": (picture("WEBP"), "image/webp"),
    "thumbnail.png": (picture("PNG"), "image/png"),
    "thumbnail.jpg": (picture("JPEG"), "image/jpeg"),
    "with_profile.jpg": (picture("JPEG", icc_profile=bytes(1_000_000)), "image/jpeg"),
}

SEGMENT = b"\xff\xe2\x00\x02"


def jpeg_with(inserted: bytes) -> bytes:
    """A picture with bytes between its first segments."""
    content = picture("JPEG")
    return content[:2] + SEGMENT + inserted + content[2:]


async def upload(client: Client, content: bytes, name: str = "file", path: str = "upload", **fields: str) -> Answer:
    form = aiohttp.FormData(fields)
    form.add_field(name, io.BytesIO(content), filename="thumbnail.webp", content_type="image/webp")
    return await ask(client.http, "POST", f"/models/42/thumbnail/{path}", data=form)


@pytest.mark.parametrize("name", PICTURES)
async def test_a_picture_is_kept_and_served_once_its_job_is_complete(client: Client, name: str) -> None:
    content, content_type = PICTURES[name]
    answer = await upload(client, content, width="1", height="1")
    assert answer.status == 200, answer.text
    kept = answer.json
    assert (kept["sizeBytes"], kept["width"], kept["height"]) == (len(content), 64, 48)
    job_id = await client.enqueue(42)
    await client.dequeue()
    report = {field: kept[field] for field in ("thumbnailPath", "sizeBytes", "width", "height")}
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/complete", report)).status == 200
    served = await client.get("/models/42/thumbnail/file")
    assert (served.status, served.body, served.content_type) == (200, content, content_type)


async def test_the_still_png_of_generation_2_has_a_path_of_its_own(client: Client) -> None:
    answer = await upload(client, picture("PNG"), path="png-upload")
    assert answer.status == 200
    assert Path(answer.json["pngThumbnailPath"]).read_bytes() == picture("PNG")
    refused = await upload(client, picture("WEBP"), path="png-upload")
    assert (refused.status, refused.json["message"]) == (400, "The picture must be a PNG.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<svg onload=alert(1)>", "The file must be a PNG, JPEG or WebP picture."),
        (b"", "The file must be a PNG, JPEG or WebP picture."),
        (picture("GIF"), "The file must be a PNG, JPEG or WebP picture."),
        (picture("PNG")[:-1], "The picture is not whole."),
        (picture("JPEG")[:-9], "The picture is not whole."),
        (animated_webp()[:-2], "The picture is not whole."),
        (picture("WEBP") + b"<script>", "The picture is not whole."),
        (b"\x89PNG\r\n\x1a\n" + b"IEND\xae\x42\x60\x82", "The picture is broken, or larger than can be shown."),
    ],
)
async def test_what_is_no_whole_picture_is_refused_whatever_it_is_called(
    client: Client, thumbnail_root: Path, content: bytes, message: str
) -> None:
    answer = await upload(client, content)
    assert (answer.status, answer.json["message"]) == (400, message)
    assert not [path for path in thumbnail_root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "inserted",
    [bytes(100_000), b"\xff" * 100_000, SEGMENT * 10_000],
    ids=["bytes between segments", "fill bytes", "segments"],
)
async def test_a_jpeg_in_which_much_comes_before_its_size_is_refused(client: Client, inserted: bytes) -> None:
    answer = await upload(client, jpeg_with(inserted))
    assert (answer.status, answer.json["message"]) == (400, "The picture is broken, or larger than can be shown.")


async def test_a_picture_over_10_mib_is_refused(client: Client, thumbnail_root: Path) -> None:
    content = picture("PNG")
    answer = await upload(client, content + b"x" * (10 * 1024 * 1024) + content)
    assert (answer.status, answer.json["message"]) == (413, "The picture is larger than 10 MiB.")
    assert not [path for path in thumbnail_root.rglob("*") if path.is_file()]


async def test_the_same_picture_twice_at_once_is_one_file_and_nothing_unfinished_stays(
    client: Client, thumbnail_root: Path
) -> None:
    content = animated_webp()
    answers = await asyncio.gather(*[upload(client, content) for _ in range(10)])
    paths = {answer.json["thumbnailPath"] for answer in answers}
    files = [path for path in thumbnail_root.rglob("*") if path.is_file()]
    assert {str(path) for path in files} == paths
    assert files[0].read_bytes() == content


async def test_a_picture_that_a_killed_gateway_left_unfinished_is_removed_after_a_day(client: Client) -> None:
    kept = Path((await upload(client, picture("PNG"))).json["thumbnailPath"])
    abandoned, under_way = kept.with_name(".upload-1"), kept.with_name(".upload-2")
    for unfinished in (abandoned, under_way):
        unfinished.write_bytes(b"half a picture")
    os.utime(abandoned, (0, 0))
    assert (await upload(client, picture("PNG"))).status == 200
    assert set(kept.parent.iterdir()) == {kept, under_way}


async def test_a_picture_is_for_the_gateways_user_alone(client: Client, thumbnail_root: Path) -> None:
    before = os.umask(0)
    try:
        kept = Path((await upload(client, picture("PNG"))).json["thumbnailPath"])
    finally:
        os.umask(before)
    folders = [folder for folder in kept.parents if folder.is_relative_to(thumbnail_root.resolve() / "uploads")]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


@pytest.mark.parametrize("place", ["uploads", "uploads/{0}", "uploads/{0}/{1}"])
async def test_a_link_that_leads_out_takes_no_picture(
    client: Client, thumbnail_root: Path, tmp_path: Path, place: str
) -> None:
    digest = hashlib.sha256(picture("PNG")).hexdigest()
    outside, link = tmp_path / "outside", thumbnail_root / place.format(digest[:2], digest[2:4])
    outside.mkdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    assert (await upload(client, picture("PNG"))).status == 500
    assert not list(outside.iterdir())


async def test_a_part_of_another_name_is_taken_and_no_part_is_refused(client: Client) -> None:
    assert (await upload(client, picture("PNG"), name="thumbnail")).status == 200
    without = await ask(client.http, "POST", "/models/42/thumbnail/upload", data=aiohttp.FormData({"width": "1"}))
    assert (without.status, without.json["message"]) == (400, "The body must be multipart/form-data.")
    assert (await client.post("/models/42/thumbnail/upload", {"file": "x"})).status == 400


async def test_a_body_without_its_boundary_and_without_line_breaks_is_refused(client: Client) -> None:
    body = b"--b\r\nContent-Disposition: form-data\r\n\r\n" + b"x" * 1_000_000 + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=another"}
    answer = await ask(client.http, "POST", "/models/42/thumbnail/upload", data=io.BytesIO(body), headers=headers)
    assert (answer.status, answer.json["message"]) == (400, "The multipart body is broken.")


PART = b'--b\r\nContent-Disposition: form-data; name="width"\r\n\r\n%b\r\n'
MIXED = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
BASE64 = PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") % b"eA=="
CHARSET = PART.replace(b"width", b"_charset_")
TOO_MUCH = "The multipart body has too much besides its picture."


@pytest.mark.parametrize(
    ("before", "status", "message"),
    [
        (b"\r\n" * 20_000, 413, TOO_MUCH),
        (PART % b"1" * 20_000, 413, TOO_MUCH),
        (PART % (b"x" * 6_000_000) * 2, 413, TOO_MUCH),
        (PART % b"1" * 130, 413, TOO_MUCH),
        (MIXED, 400, "A part has parts of its own."),
        (BASE64, 400, "A part must not be encoded."),
        (CHARSET % (b"x" * 40), 400, "The multipart body is broken."),
    ],
    ids=["lines", "many parts", "bytes", "parts", "levels", "encoded", "charset"],
)
async def test_what_comes_before_a_picture_is_bounded(client: Client, before: bytes, status: int, message: str) -> None:
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + picture("PNG")
    body = io.BytesIO(before + file + b"\r\n--b--\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await ask(client.http, "POST", "/models/42/thumbnail/upload", data=body, headers=headers)
    assert (answer.status, answer.json["message"]) == (status, message)


async def test_a_picture_may_come_after_other_fields(client: Client) -> None:
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + picture("PNG")
    body = io.BytesIO(PART % (b"x" * 9_000_000) + PART % b"1" * 100 + file + b"\r\n--b--\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await ask(client.http, "POST", "/models/42/thumbnail/upload", data=body, headers=headers)
    assert (answer.status, answer.json["message"]) == (200, "Thumbnail uploaded successfully")


async def test_a_gateway_without_a_folder_says_so(server: str) -> None:
    async with running_gateway(server) as http:
        answer = await upload(Client(http), picture("PNG"))
    assert (answer.status, "THUMBQ_THUMBNAIL_ROOT" in answer.json["message"]) == (501, True)
