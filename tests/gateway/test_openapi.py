"""The description of the API: valid, with the texts of the protocol, and with examples that the service takes."""

from typing import Any

import openapi_schema_validator
import openapi_spec_validator
import pytest

from tests.support.network.http_client import Client
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.openapi.document import openapi_document
from thumbq_gateway.openapi.examples import EXAMPLES
from thumbq_gateway.transcoding.routes import routes_of

SERVICES = [
    found for file in (queue_pb2, notification_pb2, admin_pb2) for found in file.DESCRIPTOR.services_by_name.values()
]
ROUTES = routes_of(SERVICES)
DOCUMENT = openapi_document(ROUTES)
OPERATIONS: dict[str, Any] = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}


def examples(operation: Any) -> list[tuple[Any, Any]]:
    """Return the examples of a request and of an answer, each with its schema."""
    parts = [operation["responses"].get("200", {}), operation.get("requestBody", {})]
    contents = [part.get("content", {}).get("application/json", {}) for part in parts]
    return [(content["example"], content["schema"]) for content in contents if "example" in content]


def test_the_description_is_valid() -> None:
    openapi_spec_validator.validate(DOCUMENT)


def test_every_example_fits_its_schema_and_names_no_unknown_field() -> None:
    rpcs = {route.rpc.name for routes in ROUTES.values() for route in routes}
    assert EXAMPLES.keys() == rpcs
    for name in EXAMPLES:
        assert examples(OPERATIONS[name]), name
        for example, schema in examples(OPERATIONS[name]):
            whole = {**schema, "components": DOCUMENT["components"]}
            openapi_schema_validator.validate(example, whole, cls=openapi_schema_validator.OAS31Validator)
            if "$ref" in schema:
                known = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
                assert example.keys() <= known.keys(), name


def test_summaries_and_descriptions_are_the_comments_of_the_protocol() -> None:
    claim = OPERATIONS["DequeueJob"]
    assert claim["summary"] == "Claims the next due job"
    assert claim["description"].startswith("Claims the next due job. When no job is due it waits")
    (job_id,) = OPERATIONS["GetThumbnail"]["parameters"][:1]
    assert job_id["in"] == "path"
    job = DOCUMENT["components"]["schemas"]["Job"]
    assert job["description"] == "A request for the thumbnail of one model."
    assert job["properties"]["modelHash"]["description"].startswith("SHA-256 of the model file")


async def test_the_service_takes_the_examples_and_answers_with_their_fields(client: Client) -> None:
    job_id = (await client.post("/api/thumbnail-jobs", EXAMPLES["EnqueueJob"].request)).json["jobId"]
    claimed = (await client.post("/api/thumbnail-jobs/dequeue", EXAMPLES["DequeueJob"].request)).json
    assert claimed.keys() - {"leaseExpiresAt", "workerId"} == EXAMPLES["DequeueJob"].answer.keys()
    picture = EXAMPLES["CompleteJob"].request | {"leaseToken": claimed["leaseToken"]}
    done = await client.post(f"/api/thumbnail-jobs/{job_id}/complete", picture)
    assert done.json == EXAMPLES["CompleteJob"].answer
    shown = await client.post("/models/thumbnails", EXAMPLES["GetThumbnails"].request)
    assert shown.json["thumbnails"][0].keys() == EXAMPLES["GetThumbnails"].answer["thumbnails"][0].keys()
    assert shown.json["thumbnails"][0]["status"] == "Ready"


@pytest.mark.parametrize(
    ("operation", "path"),
    [("GetThumbnail", "/models/42/thumbnail"), ("GetThumbnailByModelVersionId", "/model-versions/7/thumbnail")],
)
async def test_what_a_page_shows_has_the_fields_that_are_described(client: Client, operation: str, path: str) -> None:
    await client.enqueue(42, modelVersionId=7)
    described = OPERATIONS[operation]["responses"]["200"]["content"]["application/json"]["schema"]
    assert (await client.get(path)).json.keys() == described["properties"].keys()


def test_the_description_says_how_a_batch_is_answered() -> None:
    done = OPERATIONS["EnqueueJob"]["responses"]["200"]["description"]
    assert done == "Done. A body with `jobs` is answered with EnqueueJobsResponse."
    assert "EnqueueJobsResponse" in DOCUMENT["components"]["schemas"]


async def test_the_status_of_a_job_in_another_state_is_the_one_that_is_described(client: Client) -> None:
    job_id = await client.enqueue()
    token = {"leaseToken": (await client.dequeue())["leaseToken"]}
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/release", token)).status == 200
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/extend", token)
    assert (answer.status, answer.json["status"]) == (400, "FAILED_PRECONDITION")
    assert f"{answer.status} (the request is malformed" in DOCUMENT["info"]["description"]
    assert "409" not in DOCUMENT["info"]["description"]


@pytest.mark.changes_nothing
@pytest.mark.parametrize("path", ["/static/docs/docs.css", "/static/docs/try.js", "/static/shared/colours.css"])
async def test_the_page_for_readers_loads_its_files_from_here(client: Client, path: str) -> None:
    assert f'"{path}"' in (await client.get("/docs")).text
    assert (await client.get(path)).status == 200


def test_every_operation_says_what_it_does_and_has_an_example_of_each_body() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["summary"], name
        assert operation["description"], name
        parts = [operation["responses"].get("200", {}), operation.get("requestBody", {})]
        for content in (part.get("content", {}).get("application/json") for part in parts):
            assert content is None or "example" in content, name


def test_every_parameter_of_a_route_without_an_rpc_is_explained() -> None:
    for parameter in OPERATIONS["Notifications"]["parameters"]:
        assert parameter["schema"]["description"], parameter["name"]
