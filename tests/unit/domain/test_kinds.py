"""Kinds and options of jobs: valid ones are kept as they are, and all others are refused in one way."""

import json
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain import kinds as limits
from thumbq_server.domain.kinds import check_kind, check_kinds, check_options
from thumbq_server.domain.refusals import Invalid
from thumbq_server.rpc.codec.options import options_message, read_options

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OPTIONS = st.dictionaries(TEXTS, JSON, max_size=5)


def levels(value: object) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(levels, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@given(OPTIONS)
def test_options_within_their_limits_come_back_as_they_were_sent(options: dict[str, Any]):
    message = Struct()
    message.update(options)
    if levels(options) > limits.MAX_OPTION_LEVELS:
        with pytest.raises(Invalid, match="more than 5 levels"):
            read_options(message)
        return
    text = read_options(message)
    assert json.loads(text or "{}") == options
    assert check_options(json.loads(text or "{}")) == text
    if text:
        assert read_options(options_message(text)) == text


def test_options_may_have_a_limited_number_of_values():
    assert check_options({"a": [1.0] * (limits.MAX_OPTION_VALUES - 1)})
    with pytest.raises(Invalid, match="more than 256 values"):
        check_options({"a": [1.0] * limits.MAX_OPTION_VALUES})


@pytest.mark.parametrize("character", ["x", "ü", "漢", "😀", '"', "\0", "\x1f"])
def test_options_may_have_a_limited_number_of_bytes_of_json(character: str):
    one = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    most = (limits.MAX_OPTIONS - len('{"a":""}')) // one
    assert check_options({"a": character * most})
    with pytest.raises(Invalid, match=f"at most {limits.MAX_OPTIONS} are taken"):
        check_options({"a": character * (most + 1)})


@given(st.text(max_size=60))
def test_a_kind_is_kept_as_it_is_or_refused(kind: str):
    is_good = len(kind) <= limits.MAX_KIND and kind.isprintable() and kind == kind.strip()
    if is_good:
        assert check_kind(kind) == (kind or "Model")
    else:
        with pytest.raises(Invalid, match="assetType must have 1 to 50 printable characters"):
            check_kind(kind)


@given(st.lists(st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=50), max_size=25))
def test_a_worker_names_each_kind_once_in_any_order(kinds: list[str]):
    if len(kinds) > limits.MAX_KINDS:
        with pytest.raises(Invalid, match="at most 20"):
            check_kinds(kinds)
        return
    named = check_kinds(kinds)
    assert named == check_kinds([*reversed(kinds)])
    assert set(named) == (set(kinds) if set(kinds) != {"Model"} else set())
    assert check_kinds(named) == named
