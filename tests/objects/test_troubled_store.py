"""A store that is overloaded, wrongly set up, slow, or behind a bad network: each is said, and nothing is lost."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from yarl import URL

from tests.support.stores.object_store import ObjectStore
from tests.support.stores.troubled_store import TroubledStore, cut, first, says, silence, slowly, without_tags
from thumbq_runtime.files import objects as module
from thumbq_runtime.files.objects import NoSuchObject, Objects, StoreAway, StoreRefuses, StoreTrouble

CONTENT = bytes(range(256)) * 4_000
BROKEN = "The object store cannot be reached, or is broken."
CREDENTIALS = "The object store does not accept the credentials, or they do not allow this."
REGION = "The bucket pictures is in another region: set AWS_REGION."


@pytest.fixture
def objects(object_store: ObjectStore, troubled_store: TroubledStore) -> Objects:
    """The bucket, which is reached through the troubled network."""
    return Objects(object_store.address)


async def content(objects: Objects, key: str) -> bytes:
    return b"".join([piece async for piece in (await objects.get(key)).pieces()])


async def test_what_a_store_refuses_is_said_in_a_sentence(objects: Objects, troubled_store: TroubledStore) -> None:
    await objects.put("a", CONTENT, "image/png")
    for status, code, kind, sentence in (
        (500, "InternalError", StoreAway, BROKEN),
        (502, "", StoreAway, BROKEN),
        (503, "SlowDown", StoreAway, "The object store has too much to do."),
        (507, "XMinioStorageFull", StoreAway, "The object store is full."),
        (400, "InvalidArgument", StoreAway, BROKEN),
        (400, "AuthorizationHeaderMalformed", StoreRefuses, REGION),
        (301, "PermanentRedirect", StoreRefuses, REGION),
        (400, "KeyTooLongError", NoSuchObject, "The object store takes no name as long as this."),
        (401, "", StoreRefuses, CREDENTIALS),
        (403, "AccessDenied", StoreRefuses, CREDENTIALS),
        (403, "SignatureDoesNotMatch", StoreRefuses, CREDENTIALS),
        (403, "RequestTimeTooSkewed", StoreRefuses, "The clock of this machine is wrong, so the object store refuses."),
        (404, "NoSuchBucket", StoreRefuses, "The object store has no bucket pictures."),
        (404, "", NoSuchObject, "The object store has no such object."),
    ):
        troubled_store.trouble = says(status, code)
        for call in (objects.get("a"), objects.put("a", b"another", "image/png")):
            with pytest.raises(StoreTrouble) as trouble:
                await call
            assert (type(trouble.value), str(trouble.value)) == (kind, sentence), (status, code)
            assert trouble.value.__suppress_context__
    troubled_store.trouble = None
    assert await content(objects, "a") == CONTENT


async def test_what_fails_once_is_tried_again_and_done(objects: Objects, troubled_store: TroubledStore) -> None:
    for trouble in (says(500, "InternalError"), says(503, "SlowDown"), cut):
        troubled_store.trouble = first(1, trouble)
        await objects.put("a", CONTENT, "image/png")
        troubled_store.trouble = first(1, says(503, "SlowDown"))
        assert await content(objects, "a") == CONTENT
        troubled_store.trouble = first(1, says(503, "SlowDown"))
        assert (await objects.look_at("a")).size == len(CONTENT)
        troubled_store.trouble = first(1, says(503, "SlowDown"))
        await objects.remove("a")
        with pytest.raises(NoSuchObject):
            await objects.look_at("a")


async def test_half_an_object_is_never_taken_for_the_whole(
    objects: Objects, troubled_store: TroubledStore, object_store: ObjectStore
) -> None:
    await objects.put("a", CONTENT, "image/png")
    troubled_store.trouble = cut
    with pytest.raises(StoreAway):
        await content(objects, "a")
    for key in ("a", "b"):
        with pytest.raises(StoreAway):
            await objects.put(key, bytes(len(CONTENT)), "image/png")
    assert object_store.objects() == {"a": CONTENT}


async def test_an_upload_may_take_longer_than_a_store_may_be_silent(
    object_store: ObjectStore, troubled_store: TroubledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENCE", timedelta(seconds=0.3))
    objects = Objects(object_store.address)
    troubled_store.trouble = slowly(10, 0.1)
    await objects.put("a", CONTENT, "image/png")
    assert object_store.objects() == {"a": CONTENT}
    assert troubled_store.asked == ["PUT"]


async def test_a_store_that_is_silent_is_given_up(
    objects: Objects, troubled_store: TroubledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER", 0.3)
    troubled_store.trouble = silence
    for call in (objects.look(), objects.look_at("a"), objects.remove("a"), objects.put("a", b"a", "image/png")):
        with pytest.raises(StoreAway, match=r"^The object store does not answer in time\.$"):
            await call


async def test_workers_that_write_one_key_at_once_leave_the_whole_of_one(
    objects: Objects, object_store: ObjectStore
) -> None:
    pictures = [bytes([number]) * 300_000 for number in range(8)]
    await asyncio.gather(*(objects.put("a", picture, "image/png") for picture in pictures))
    assert object_store.objects()["a"] in pictures
    assert list(object_store.objects()) == ["a"]


async def test_a_store_that_gives_no_tags_still_tells_that_an_object_has_changed(
    objects: Objects, troubled_store: TroubledStore
) -> None:
    tags = set()
    for content in (CONTENT, CONTENT[1:]):
        troubled_store.trouble = None
        await objects.put("a", content, "image/png")
        troubled_store.trouble = without_tags
        facts = await objects.look_at("a")
        assert (await objects.get("a")).facts == facts
        tags.add(facts.tag)
    assert len(tags) == 2
    assert all(tags)


async def test_a_signed_address_is_good_for_one_object_and_a_limited_time(objects: Objects) -> None:
    await objects.put("a b+c.webp", b"picture", "image/webp")
    address = URL(await objects.signed_url("a b+c.webp", 77))
    assert address.query["X-Amz-Expires"] == "77"
    async with aiohttp.ClientSession() as http:
        async with http.get(address) as answer:
            assert await answer.read() == b"picture"
        async with http.get(address.update_query({"X-Amz-Expires": "9999"})) as answer:
            assert answer.status == 403
