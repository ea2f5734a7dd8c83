"""Objects in a store that speaks S3: kept, read, removed, and what is said when that cannot be."""

import os
from pathlib import Path

import aiohttp
import pytest

from tests.support.stores.object_store import KEY, SECRET, ObjectStore
from thumbq_runtime.files.objects import InvalidStore, NoSuchObject, Objects, StoreAway, StoreRefuses
from thumbq_runtime.settings.environment import reach_this_machine_directly

CONTENT = bytes(range(256)) * 4_000


async def content(objects: Objects, key: str) -> bytes:
    return b"".join([piece async for piece in (await objects.get(key)).pieces()])


async def test_an_object_is_kept_read_replaced_and_removed(object_store: ObjectStore) -> None:
    objects = Objects(f"{object_store.address}/thumbs/")
    name = await objects.put("ab/cd/é b+c&d=?#%41.webp", CONTENT, "image/webp")
    assert name == f"{object_store.address}/thumbs/ab/cd/é b+c&d=?#%41.webp"
    assert object_store.objects() == {"thumbs/ab/cd/é b+c&d=?#%41.webp": CONTENT}
    key = objects.key(name)
    assert key is not None
    assert await content(objects, key) == CONTENT
    facts = await objects.look_at(key)
    assert (facts.size, facts) == (len(CONTENT), (await objects.get(key)).facts)
    await objects.put(key, b"another", "image/webp")
    assert await content(objects, key) == b"another"
    assert (await objects.look_at(key)).tag != facts.tag
    async with aiohttp.ClientSession() as http, http.get(await objects.signed_url(key, 60)) as answer:
        assert (await answer.read(), answer.content_type) == (b"another", "image/webp")
    await objects.remove(key)
    await objects.remove(key)
    assert object_store.objects() == {}
    for question in (objects.get, objects.look_at):
        with pytest.raises(NoSuchObject, match=r"^The object store has no such object\.$"):
            await question(key)
    await objects.look()


async def test_a_store_that_goes_away_is_told_from_one_that_refuses(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = Objects(object_store.address)
    await objects.put("a", CONTENT, "image/png")
    with pytest.raises(StoreRefuses, match=r"^The object store has no bucket other\.$"):
        await Objects("s3://other").look()
    with pytest.raises(StoreRefuses, match=r"^The object store has no bucket other\.$"):
        await Objects("s3://other").put("a", b"a", "image/png")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-9b1c")
    stranger = Objects(object_store.address)
    for call in (stranger.look(), stranger.get("a"), stranger.put("b", b"b", "image/png"), stranger.remove("a")):
        with pytest.raises(StoreRefuses) as refused:
            await call
        assert str(refused.value) == "The object store does not accept the credentials, or they do not allow this."
        assert refused.value.__suppress_context__
    # A file holds the secret, as container platforms pass it.
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(tmp_path / "secret"))
    assert await content(Objects(object_store.address), "a") == CONTENT
    object_store.stop()
    for call in (objects.look(), objects.get("a"), objects.put("b", b"b", "image/png"), objects.remove("a")):
        with pytest.raises(StoreAway, match=r"^The object store cannot be reached, or is broken\.$"):
            await call
    object_store.start()
    assert await content(objects, "a") == CONTENT


async def test_no_proxy_is_asked_for_a_store_on_this_machine(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(StoreAway):
        await Objects(object_store.address).look()
    reach_this_machine_directly(os.environ)
    await Objects(object_store.address).look()


@pytest.mark.parametrize(
    "name", ["s3://pictures/a//b", "s3://pictures/../b", "s3://other/a", "s3://picturesque/a", "/a"]
)
async def test_a_name_that_is_not_below_the_address_has_no_key(name: str) -> None:
    assert Objects("s3://pictures").key(name) is None


@pytest.mark.parametrize(
    "address", ["", "s3://", "s3:///a", "s3://b", "http://bucket/a", "bucket", "s3://bucket/../a", "s3://bucket/a//b"]
)
def test_an_address_that_is_none_is_refused_in_a_sentence(address: str) -> None:
    with pytest.raises(InvalidStore, match=r"is no address of an object store, such as s3://bucket/prefix\.$"):
        Objects(address)


@pytest.mark.parametrize("address", [f"s3://{KEY}:{SECRET}@bucket", f"s3://bucket?secret={SECRET}"])
def test_credentials_in_an_address_are_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidStore) as refused:
        Objects(address)
    assert "AWS_ACCESS_KEY_ID" in str(refused.value)
    assert SECRET not in str(refused.value)
