"""POST /models/thumbnails: what a page shows for many models, in one answer."""

from tests.support.http_client import Client
from thumbq_gateway.transcoding.contract import THUMBNAIL_FIELDS

RESULT = {"thumbnailPath": "/var/lib/thumbs/a.png", "sizeBytes": 45678, "width": 512, "height": 512}


async def test_many_thumbnails_are_shown_as_one_is_without_the_path_of_a_file(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    answer = await client.post("/models/thumbnails", {"modelIds": [7, 42]})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    nothing, picture = answer.json["thumbnails"]
    assert {*nothing} == {*picture} == {"modelId", *THUMBNAIL_FIELDS}
    assert (nothing["modelId"], nothing["status"], nothing["fileUrl"]) == (7, "Pending", None)
    assert (picture["modelId"], picture["status"], picture["width"]) == (42, "Ready", 512)
    assert answer.json["cursor"] == picture["cursor"]
    for one in (nothing, picture):
        assert one == {"modelId": one["modelId"]} | (await client.get(f"/models/{one['modelId']}/thumbnail")).json


async def test_what_is_no_list_of_a_thousand_models_is_refused_with_a_sentence(client: Client) -> None:
    answer = await client.post("/models/thumbnails", {"modelIds": [*range(1001)]})
    assert (answer.status, answer.json["message"]) == (
        400,
        "modelIds has 1001 items; at most 1000 are taken at once",
    )
    assert (await client.post("/models/thumbnails", {"modelIds": ["teapot"]})).status == 400
    assert (await client.post("/models/thumbnails")).json["thumbnails"] == []
