"""Refusals as status codes, new kinds of them too."""

import grpc
import pytest
from structlog.testing import capture_logs

from thumbq_runtime.outage import DATABASE_AWAY
from thumbq_server.domain.refusals import Invalid, NotFound, Refused, WrongState
from thumbq_server.engine.outage import RateLimitedLog, Unavailable
from thumbq_server.rpc.errors import status


class TooLarge(Invalid):
    """A kind of refusal that the table of codes does not name."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("no"), grpc.StatusCode.INVALID_ARGUMENT),
        (TooLarge("no"), grpc.StatusCode.INVALID_ARGUMENT),
        (WrongState("no"), grpc.StatusCode.FAILED_PRECONDITION),
        (Refused("no"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_a_refusal_has_the_code_of_its_kind(error: Refused, code: grpc.StatusCode):
    assert status(error) == (code, "no")


def test_an_unknown_job_is_not_found():
    assert status(NotFound(7)) == (grpc.StatusCode.NOT_FOUND, "Thumbnail job with ID 7 was not found.")


def test_an_outage_is_unavailable_and_shows_no_details():
    assert status(Unavailable("ConnectionRefusedError: 10.0.0.1")) == (grpc.StatusCode.UNAVAILABLE, DATABASE_AWAY)


def test_a_warning_that_repeats_is_logged_once():
    warning = RateLimitedLog("call.unavailable", every=3600)
    with capture_logs() as logs:
        for _ in range(3):
            warning.warning(Unavailable("away"))
    assert [(entry["event"], entry["error"]) for entry in logs] == [("call.unavailable", "away")]
