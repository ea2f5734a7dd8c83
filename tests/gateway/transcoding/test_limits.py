"""What a request may cost: it is checked before anything is decoded, and no number is rounded."""

import io
import json

import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.network.http_client import Client, digest
from tests.wire.hostile.hostile import forget_peak, memory, peak_of_memory
from thumbq_gateway.protojson.text import MOST_VALUES, parse_json
from thumbq_gateway.protojson.values import InvalidValue, read_duration

JOBS = "/api/thumbnail-jobs"
TOO_MANY = f"The request body has more than {MOST_VALUES:,} values."
COSTLY = {
    "empty objects": b"{}," * 1_300_000 + b"{}",
    "empty lists": b"[]," * 1_300_000 + b"[]",
    "empty texts": b'"",' * 1_300_000 + b'""',
    "numbers": b"1," * 2_000_000 + b"1",
    "names": b'{"a":1},' * 500_000 + b"{}",
    "nested lists": b"[[[[]]]]," * 400_000 + b"[]",
}


@pytest.mark.changes_nothing
@pytest.mark.parametrize("jobs", COSTLY.values(), ids=COSTLY)
async def test_a_body_with_more_values_than_a_request_can_use_is_refused(client: Client, jobs: bytes) -> None:
    answer = await client.post(JOBS, data=io.BytesIO(b'{"jobs": [%b]}' % jobs))
    assert (answer.status, answer.json["message"]) == (400, TOO_MANY)


@pytest.mark.changes_nothing
async def test_a_header_that_is_no_traceparent_is_not_copied_into_every_job_of_a_batch(client: Client) -> None:
    jobs = io.BytesIO(b'{"jobs": [%b{}]}' % (b"{}," * 69_999))
    forget_peak()
    before = memory()
    answer = await client.post(JOBS, data=jobs, headers={"traceparent": "0" * 8_000})
    assert (answer.status, answer.json["message"]) == (400, "jobs has 70000 items; at most 10000 are taken at once")
    assert peak_of_memory() - before < 250


@pytest.mark.parametrize("nested", [b"[" * 99 + b"]" * 99, b'{"[":' * 99 + b"1" + b"}" * 99], ids=["lists", "objects"])
async def test_a_body_of_a_hundred_levels_is_read_and_one_of_a_level_more_is_refused(
    client: Client, nested: bytes
) -> None:
    beside = b'{"modelId": 1, "modelHash": "%b", "[[{": "[{\\"[", "colour": %b}'
    answer = await client.post(JOBS, data=beside % (b"a" * 64, nested))
    assert answer.status == 200, answer.text
    answer = await client.post(JOBS, data=beside % (b"a" * 64, b"[%b]" % nested))
    assert (answer.status, answer.json["message"]) == (400, "The request body has more than 100 levels.")


@pytest.mark.changes_nothing
async def test_a_batch_that_is_too_large_for_the_server_is_refused_and_not_told_to_come_again(client: Client) -> None:
    options = {f"{'a' * 23}{number}": 1 for number in range(10)}
    jobs = [{"modelId": number, "modelHash": digest(number), "options": options} for number in range(1, 10_001)]
    body = json.dumps({"jobs": jobs}, separators=(",", ":")).encode()
    assert len(body) < 4 * 1024 * 1024
    answer = await client.post(JOBS, data=io.BytesIO(body))
    assert (answer.status, "Retry-After" in answer.headers) == (413, False)
    sentence = "The request is larger than 4 MiB as the server gets it. Send fewer jobs or results at once."
    assert answer.json["message"] == sentence


async def test_punctuation_within_a_text_is_no_value(client: Client) -> None:
    await client.enqueue()
    job = await client.dequeue()
    results = [{"jobId": job["id"], "leaseToken": job["leaseToken"], "fail": {"errorMessage": '\\",[{' * 200_000}}]
    answer = await client.post(f"{JOBS}/results", {"results": results})
    assert (answer.status, answer.json) == (200, {"exceptions": []})


@pytest.mark.changes_nothing
async def test_the_most_results_with_all_fields_have_room(client: Client) -> None:
    path = "/thumbnails/ab/" + "c" * 120
    complete = {"thumbnailPath": path, "sizeBytes": 12_345, "width": 512, "height": 512}
    results = [{"jobId": number, "leaseToken": f"1-{number}-5", "complete": complete} for number in range(1, 10_001)]
    answer = await client.post(f"{JOBS}/results", {"results": results})
    assert answer.status == 200, answer.text


ROUNDED = ["9007199254740993.5", "4503599627370497.25", "1.00000000000000000001", "5e-1", "-0.5", "1e-400"]


@pytest.mark.changes_nothing
@pytest.mark.parametrize("number", ROUNDED)
async def test_a_fraction_is_never_rounded_to_a_whole_number(client: Client, number: str) -> None:
    answer = await client.post(JOBS, data=b'{"modelId": %b, "modelHash": "%b"}' % (number.encode(), b"a" * 64))
    assert (answer.status, answer.json["code"]) == (400, 3)


@pytest.mark.parametrize(
    "number", ["9007199254740993.0", "9007199254740993", "9.007199254740993e15", '"9007199254740993"']
)
async def test_a_large_number_is_taken_as_it_is_written(client: Client, number: str) -> None:
    body = f'{{"modelId": {number}, "modelHash": "{digest(1)}"}}'
    answer = await client.post(JOBS, data=body.encode())
    assert answer.status == 200, answer.text
    assert (await client.job(answer.json["jobId"]))["modelId"] == "9007199254740993"


async def test_an_id_that_javascript_would_round_is_a_string_in_every_answer(client: Client) -> None:
    model_id = 2**53 + 1
    job_id = await client.enqueue(model_id)
    shown = (await client.post("/models/thumbnails", {"modelIds": [model_id]})).json["thumbnails"][0]
    again = (await client.post(f"/models/{model_id}/thumbnail/regenerate")).json
    await client.dequeue()
    await client.post(f"/api/models/{model_id}/cancel-jobs")
    finished = (await client.post(f"/thumbnail-jobs/{job_id}/finish", {"success": False})).json
    assert [answer["modelId"] for answer in (shown, again, finished)] == [str(model_id)] * 3


@pytest.mark.changes_nothing
@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "9223372036854775808.0", "1e19"])
async def test_a_number_out_of_range_is_refused_however_it_is_written(client: Client, number: str) -> None:
    answer = await client.post(JOBS, data=b'{"modelId": %b}' % number.encode())
    sentence = "modelId must be between -9223372036854775808 and 9223372036854775807."
    assert (answer.status, answer.json["message"]) == (400, sentence)


@pytest.mark.parametrize(
    "number", ["9" * 101, "0." + "1" * 100, "1e9999999999999999999999", "1e-9999999999999999999999"]
)
def test_a_number_that_is_too_long_or_too_large_to_be_read_is_refused(number: str) -> None:
    with pytest.raises(InvalidValue, match="The request body is not valid JSON: "):
        parse_json(b"[%b]" % number.encode())


def test_a_duration_is_cut_to_nanoseconds_and_not_rounded_up() -> None:
    almost = parse_json(b"0.%b" % (b"9" * 40))
    assert read_duration(almost) == Duration(nanos=999_999_999)


async def test_an_enum_is_read_alike_in_a_body_and_in_a_query(client: Client) -> None:
    await client.enqueue()
    for word in ("Pending", "pending", "JOB_STATUS_PENDING", "1"):
        answer = await client.get(f"{JOBS}?status={word}")
        assert (answer.status, len(answer.json["jobs"])) == (200, 1), word
    for status in ("Ready", "THUMBNAIL_STATUS_READY", "3", 3):
        answer = await client.post("/api/test/thumbnail-complete/5", {"status": status})
        assert answer.status == 200, answer.text
        async with client.listen(f"status={status}&after=earliest") as page:
            assert await page.models(1) == [5]
    for status in ("77", "-1", "0", "THUMBNAIL_STATUS_UNSPECIFIED", "1.0"):
        assert (await client.get(f"/api/notifications?status={status}")).status == 400, status
    assert json.loads((await client.get(f"{JOBS}?status=77")).body)["code"] == 3
