"""The HTTP answer to each gRPC status."""

import json

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from grpc import StatusCode
from structlog.testing import capture_logs

from thumbq_gateway.http.errors import HTTP_STATUS, Refusal, answer_errors, refused_by_server, status_response
from thumbq_gateway.transcoding.contract import error_object, plain_text


def body_of(response: web.Response) -> str:
    assert isinstance(response.text, str)
    return response.text


def refused(code: StatusCode, details: str | None) -> Refusal:
    nothing = grpc.aio.Metadata()
    return refused_by_server(grpc.aio.AioRpcError(code, nothing, nothing, details=details))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (StatusCode.INVALID_ARGUMENT, 400),
        (StatusCode.FAILED_PRECONDITION, 400),
        (StatusCode.UNAUTHENTICATED, 401),
        (StatusCode.PERMISSION_DENIED, 403),
        (StatusCode.NOT_FOUND, 404),
        (StatusCode.ABORTED, 409),
        (StatusCode.RESOURCE_EXHAUSTED, 429),
        (StatusCode.INTERNAL, 500),
        (StatusCode.UNIMPLEMENTED, 501),
        (StatusCode.UNAVAILABLE, 503),
        (StatusCode.DEADLINE_EXCEEDED, 504),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_status_is_answered_as_google_says(code: StatusCode, status: int) -> None:
    response = status_response(Refusal(code, "Because."))
    assert (response.status, response.content_type) == (status, "application/json")
    assert json.loads(body_of(response)) == {"code": code.value[0], "message": "Because.", "status": code.name}


def test_every_status_has_its_answer() -> None:
    assert HTTP_STATUS.keys() == set(StatusCode) - {StatusCode.OK}


@pytest.mark.parametrize("answer", [status_response, plain_text, error_object])
@pytest.mark.parametrize(("code", "retry"), [(StatusCode.UNAVAILABLE, "1"), (StatusCode.RESOURCE_EXHAUSTED, "1")])
def test_who_may_try_again_is_told_when(answer, code: StatusCode, retry: str) -> None:
    assert answer(Refusal(code, "Later.")).headers["Retry-After"] == retry


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (StatusCode.INVALID_ARGUMENT, 400),
        (StatusCode.NOT_FOUND, 400),
        (StatusCode.FAILED_PRECONDITION, 400),
        (StatusCode.RESOURCE_EXHAUSTED, 429),
        (StatusCode.UNAVAILABLE, 503),
        (StatusCode.DEADLINE_EXCEEDED, 504),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_documented_routes_know_only_one_status_for_what_is_wrong_with_a_request(
    code: StatusCode, status: int
) -> None:
    text, wrapped = plain_text(Refusal(code, "Because.")), error_object(Refusal(code, "Because."))
    assert (text.status, text.content_type, text.text) == (status, "text/plain", "Because.")
    assert (wrapped.status, json.loads(body_of(wrapped))) == (status, {"error": "Because."})


@pytest.mark.parametrize("code", [StatusCode.UNKNOWN, StatusCode.INTERNAL, StatusCode.UNAVAILABLE], ids=str)
def test_what_only_an_operator_should_read_is_not_shown(code: StatusCode) -> None:
    assert "10.0.0.7" not in refused(code, "connect to 10.0.0.7:5432 failed").message


def test_the_words_of_the_server_are_passed_on() -> None:
    assert refused(StatusCode.NOT_FOUND, "Thumbnail job with ID 9 was not found.").message == (
        "Thumbnail job with ID 9 was not found."
    )


def test_an_error_without_words_has_those_of_its_status() -> None:
    assert refused(StatusCode.NOT_FOUND, None).message == "not found"


def test_a_call_that_a_stopping_server_cancels_may_be_tried_again() -> None:
    response = plain_text(refused(StatusCode.CANCELLED, None))
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_an_unexpected_error_is_logged_with_the_beginning_of_a_long_path() -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise ZeroDivisionError

    with capture_logs() as logs:
        response = await answer_errors(make_mocked_request("GET", f"/{'a' * 60_000}"), broken)
    assert response.status == 500
    (line,) = logs
    assert (line["event"], line["path"]) == ("request.broken", f"/{'a' * 199}")
