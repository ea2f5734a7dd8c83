"""Two hosts with a server and a gateway each, over one PostgreSQL and one object store. Either may be killed."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.network.hosts import Host, two_hosts
from tests.support.network.http_client import Client
from tests.support.service.served import THUMBQ
from tests.support.stores.object_store import ObjectStore
from thumbq.render.samples import Sample, write_samples
from thumbq.render.system_libraries import advice, missing_libraries
from thumbq_runtime.files.objects import Objects

MISSING = missing_libraries()
pytestmark = [
    pytest.mark.network_namespaces,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=advice(MISSING)),
    pytest.mark.skipif("THUMBQ_TEST_DATABASE_URL" in os.environ, reason="a PostgreSQL of its own is reached by socket"),
]
GATEWAY_PORT = 5009


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ObjectStore, Host, Host]]:
    """Two hosts that reach an object store."""
    with two_hosts() as (here, a, b):
        store = ObjectStore(tmp_path / "store", host=here)
        store.start()
        try:
            for variable, value in store.variables().items():
                monkeypatch.setenv(variable, value)
            yield store, a, b
        finally:
            store.stop()


async def serve(host: Host, database_url: str, store: ObjectStore) -> None:
    """Run a server and a gateway on a host."""
    common = {"THUMBQ_THUMBNAIL_STORE": f"{store.address}/thumbs"}
    await host.run("thumbq_server", DATABASE_URL=database_url, **common)
    at = {"THUMBQ_HTTP_HOST": host.address, "THUMBQ_HTTP_PORT": str(GATEWAY_PORT), "THUMBQ_INSECURE": "1"}
    await host.run("thumbq_gateway", **common, **at)


async def render(host: Host, store: ObjectStore) -> None:
    """Run a render worker on a host, which has no folder in common with any other."""
    places = [f"--models={store.address}/models/{{model_hash}}", f"--thumbnail-store={store.address}/thumbs"]
    await host.start(str(THUMBQ), "worker", *places, "--concurrency=1", "--size=64")


@asynccontextmanager
async def page_at(host: Host) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(f"http://{host.address}:{GATEWAY_PORT}") as http:
        yield Client(http)


async def enqueue(client: Client, sample: Sample) -> None:
    body = {"modelId": sample.model_id, "modelHash": sample.model_hash}
    assert (await client.post("/api/thumbnail-jobs", body)).status == 200


async def shown(client: Client, sample: Sample, store: ObjectStore) -> None:
    """See that a page shows the picture of a model as it is in the store."""
    answer = await client.get(f"/models/{sample.model_id}/thumbnail/file")
    assert (answer.status, answer.content_type) == (200, "image/webp")
    assert store.objects()[f"thumbs/{sample.model_hash[:2]}/{sample.model_hash[2:4]}/{sample.model_hash}-64.webp"] == (
        answer.body
    )


async def test_a_worker_on_one_host_renders_for_a_page_at_the_other_and_either_may_be_killed(
    database_url: str, hosts: tuple[ObjectStore, Host, Host], tmp_path: Path
) -> None:
    store, a, b = hosts
    samples = {sample.name: sample for sample in write_samples(tmp_path / "models")}
    drawn = [samples[name] for name in ("teacup.glb", "pawn.obj", "cottage.glb")]
    for sample in drawn:
        await Objects(f"{store.address}/models").put(sample.model_hash, sample.path.read_bytes(), "model/any")
    await serve(a, database_url, store)
    await serve(b, database_url, store)
    await render(a, store)
    async with page_at(b) as client, client.listen("") as page:
        await enqueue(client, drawn[0])
        assert [(await page.event()).data["status"] for _ in range(2)] == ["Pending", "Ready"]
        await shown(client, drawn[0], store)

        await a.kill()
        await enqueue(client, drawn[1])
        assert (await page.event()).data["status"] == "Pending"
        await render(b, store)
        assert (await page.event()).data["status"] == "Ready"
        await shown(client, drawn[1], store)

    a.revive()
    await serve(a, database_url, store)
    await b.kill()
    async with page_at(a) as client, client.listen("after=earliest") as page:
        known = [(await page.event()).data for _ in range(4)]
        assert [event["status"] for event in known] == ["Pending", "Ready"] * 2
        for sample in drawn[:2]:
            await shown(client, sample, store)
        await enqueue(client, drawn[2])
        await render(a, store)
        assert [(await page.event()).data["status"] for _ in range(2)] == ["Pending", "Ready"]
        await shown(client, drawn[2], store)
