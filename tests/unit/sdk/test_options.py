"""Options of a job arrive as they were given, or are refused."""

import math
from types import MappingProxyType
from typing import Any

import pytest

from thumbq import InvalidJob, Request

HASH = "ab" * 32


def deep(levels: int) -> dict[str, Any]:
    return {"of": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seed": 2**53 + 1}, "whole number beyond 2"),
        ({"seeds": [{"first": -(2**53) - 1}]}, "whole number beyond 2"),
        (MappingProxyType({"seed": (2**64,)}), "whole number beyond 2"),
        ({"seed": math.nan}, "not finite"),
        ({"seed": -math.inf}, "not finite"),
        (deep(50), "too many levels"),
        (deep(900), "too many levels"),
    ],
    ids=range(7),
)
def test_options_that_would_not_arrive_as_they_are_are_refused(options: Any, reason: str):
    with pytest.raises(InvalidJob, match=reason):
        Request(model_id=7, model_hash=HASH, options=options).message()


def test_options_that_a_double_holds_are_taken():
    options = {"seed": 2**53, "least": -(2**53), "ratio": 1e300, "yes": True, "deep": deep(10)}
    message = Request(model_id=7, model_hash=HASH, options=options).message()
    assert message.options["seed"] == 2**53
