"""Pictures of an object store behind a bad network: an answer is whole, or it is seen that it is not."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import aiohttp
import pytest
from aiohttp import web

from tests.compatibility.pictures import picture
from tests.compatibility.test_uploads import upload
from tests.gateway.test_files import PNG, complete, file
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.stores.object_store import ObjectStore
from tests.support.stores.troubled_store import TroubledStore, cut, first, says, send
from thumbq_runtime.files.objects import Objects

LARGE = PNG * 2_000
BROKEN = "The object store cannot be reached, or is broken."


ODD_KEYS = (
    "é b+c&d=?#%41.png",
    "a'b\"c<d>.png",
    "日本/😀.png",
    "a\\b.png",
    "~a*[x]{y}|^`.png",
    "a;b:c@d,e!$().png",
    "%2e%2e.png",
    "NoSuchBucket.png",
)


@pytest.fixture
async def client(database_url: str, object_store: ObjectStore, troubled_store: TroubledStore) -> AsyncIterator[Client]:
    address = f"{object_store.address}/thumbs"
    assert troubled_store.address
    async with (
        running_server(database_url, thumbnail_store=address) as server,
        running_gateway(server, thumbnail_store=address) as http,
    ):
        client = Client(http)
        await complete(client, await Objects(address).put("large.png", LARGE, "image/png"))
        yield client


async def test_trouble_is_503_with_a_sentence_and_none_of_the_stores_words(
    client: Client, troubled_store: TroubledStore
) -> None:
    for status, code, expected in (
        (500, "InternalError", BROKEN),
        (503, "SlowDown", "The object store has too much to do."),
        (403, "AccessDenied", "The object store does not accept the credentials, or they do not allow this."),
    ):
        troubled_store.trouble = says(status, code)
        for method in ("GET", "HEAD"):
            answer = await file(client, method=method)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert method == "HEAD" or answer.json["message"] == expected
    troubled_store.trouble = says(404, "NoSuchKey")
    assert (await file(client)).status == 404
    troubled_store.trouble = None
    assert (await file(client)).body == LARGE


async def test_half_a_picture_is_no_whole_answer(client: Client, troubled_store: TroubledStore) -> None:
    troubled_store.trouble = cut
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
        await file(client)
    troubled_store.trouble = None
    assert (await file(client)).body == LARGE


async def test_an_upload_that_breaks_off_leaves_nothing_and_may_be_repeated(
    client: Client, troubled_store: TroubledStore, object_store: ObjectStore
) -> None:
    troubled_store.trouble = cut
    answer = await upload(client, picture("PNG"))
    assert (answer.status, answer.json["message"]) == (503, BROKEN)
    assert list(object_store.objects()) == ["thumbs/large.png"]
    troubled_store.trouble = first(1, cut)
    answer = await upload(client, picture("PNG"))
    assert answer.status == 200
    assert object_store.objects()[answer.json["thumbnailPath"].removeprefix("s3://pictures/")] == picture("PNG")


async def test_every_form_of_a_range_and_of_a_condition_has_its_answer(client: Client) -> None:
    whole = await file(client)
    tag, modified, size = whole.headers["ETag"], whole.headers["Last-Modified"], len(LARGE)
    earlier = format_datetime(parsedate_to_datetime(modified) - timedelta(days=1), usegmt=True)
    for headers, status, body in (
        ({"Range": "bytes=0-0"}, 206, LARGE[:1]),
        ({"Range": f"bytes={size - 1}-{size + 99}"}, 206, LARGE[-1:]),
        ({"Range": f"bytes=-{size + 1}"}, 206, LARGE),
        ({"Range": f"bytes={size}-"}, 416, b""),
        ({"Range": "bytes=-0"}, 416, b""),
        ({"Range": "bytes=5-2"}, 200, LARGE),
        ({"Range": "bytes=0-1,4-5"}, 200, LARGE),
        ({"Range": "lines=0-1"}, 200, LARGE),
        ({"Range": "bytes=0-1", "If-Range": tag}, 206, LARGE[:2]),
        ({"Range": "bytes=0-1", "If-Range": '"other"'}, 200, LARGE),
        ({"Range": "bytes=0-1", "If-Range": modified}, 206, LARGE[:2]),
        ({"Range": "bytes=0-1", "If-Range": earlier}, 200, LARGE),
        ({"If-None-Match": f'"other", {tag}'}, 304, b""),
        ({"If-None-Match": f"W/{tag}"}, 304, b""),
        ({"If-None-Match": "*"}, 304, b""),
        ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200, LARGE),
        ({"If-Modified-Since": modified}, 304, b""),
        ({"If-Modified-Since": earlier}, 200, LARGE),
        ({"If-Match": tag, "If-Unmodified-Since": earlier}, 200, LARGE),
        ({"If-Match": f"W/{tag}"}, 412, b""),
        ({"If-Match": '"other"'}, 412, b""),
        ({"If-Unmodified-Since": earlier}, 412, b""),
        ({"If-Unmodified-Since": modified, "Range": "bytes=1-1"}, 206, LARGE[1:2]),
    ):
        answer = await file(client, **headers)
        assert (answer.status, answer.body) == (status, body), headers
        head = await file(client, method="HEAD", **headers)
        # HEAD knows no ranges
        assert (head.status, head.body) == (200 if status in {206, 416} else status, b""), headers
        if head.status == 200:
            assert head.headers["Content-Length"] == str(size)


async def test_the_end_of_a_large_object_is_asked_for_and_is_right_from_any_store(
    client: Client, troubled_store: TroubledStore
) -> None:
    asked: list[str] = []

    async def whole(store: TroubledStore, request: web.BaseRequest) -> tuple[dict[str, str], bytes]:
        without = request.headers.copy()
        without.popall("Range", None)
        _, headers, body = await store.real(request.clone(headers=without))
        return headers, body

    async def knows_no_ranges(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
        return await send(request, 200, *await whole(store, request))

    async def knows_ranges(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse:
        headers, body = await whole(store, request)
        wanted = request.http_range
        if wanted.start is None:
            return await send(request, 200, headers, body)
        asked.append(request.headers["Range"])
        part = body[wanted]
        place = {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{len(body)}"}
        return await send(request, 206, {**headers, **place, "Content-Length": str(len(part))}, part)

    async def has_another_by_then(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse | None:
        if "Range" not in request.headers:
            return None
        place = {"Content-Range": f"bytes {len(LARGE) - 9}-{len(LARGE) - 2}/{len(LARGE)}", "ETag": '"another"'}
        return await send(request, 206, {**place, "Last-Modified": format_datetime(datetime.now(UTC), True)}, bytes(8))

    end = f"bytes={len(LARGE) - 9}-{len(LARGE) - 2}"
    for trouble in (knows_ranges, knows_no_ranges, has_another_by_then, None):
        troubled_store.trouble = trouble
        answer = await file(client, Range=end)
        assert (answer.status, answer.body) == (206, LARGE[-9:-1]), trouble
    assert asked == [end]


async def test_any_name_that_a_worker_chooses_is_shown_and_one_that_is_gone_is_404(
    client: Client, object_store: ObjectStore
) -> None:
    objects = Objects(f"{object_store.address}/thumbs")
    for model_id, key in enumerate(ODD_KEYS, 100):
        await complete(client, await objects.put(key, PNG, "image/png"), model_id)
        assert object_store.objects()[f"thumbs/{key}"] == PNG
        answer = await file(client, model_id)
        assert (answer.status, answer.body) == (200, PNG), key
        await objects.remove(key)
        assert (await file(client, model_id)).status == 404, key
    assert set(object_store.objects()) == {"thumbs/large.png"}
