"""A large JSON text is decoded in small steps, and means the same as in one."""

import json
import random

import pytest

from thumbq_gateway.protojson.steps import TooDeep, decode_in_steps, has_more_separators

LONG = " " * 20_000
LISTS = '[1, 2.5, "[{,", null, true, {"a": [], "b": {}}]'
TEXTS = {
    "flat": f"[{LONG}1, 2{LONG}]",
    "nested": '{"a": ' * 50 + LONG + "1" + "}" * 50,
    "many small ones": f'{{"jobs": [{", ".join([LISTS] * 2_000)}]}}',
    "brackets in strings": json.dumps({'a\\"[': ["]}\\" * 9_000, {"[{": '"' * 9_000}], "b": "ä[€😀" * 5_000}),
    "the same name twice": f'{{"a": [{LONG}], "a": {{"b": [{LONG}2]}}}}',
    "no container": f"{LONG}17{LONG}",
}
BROKEN = {
    "open": f"[[{LONG}1",
    "closed by the other bracket": f"[{LONG}1}}{LONG}]",
    "closed too often": f"[{LONG}]]",
    "without a value": f'{{"a":{LONG}, "b": 1}}',
    "a name that is no string": f"{{1: [{LONG}]}}",
    "an open string": f'["a{LONG}',
    "a control character": f'["\n", [{LONG}]]',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_large_text_means_the_same(text: str) -> None:
    assert decode_in_steps(text, json.JSONDecoder(), 100) == json.loads(text)


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_text_is_broken_in_the_same_place(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as at_once:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as in_steps:
        decode_in_steps(text, json.JSONDecoder(), 100)
    assert str(in_steps.value) == str(at_once.value)


def test_whatever_is_cut_out_or_doubled_means_the_same_or_is_refused() -> None:
    chance = random.Random(17)
    whole = f'{{"a": [{LISTS}, {LISTS}, {LONG}{LISTS}], "b": "{LONG}"}}'
    for _ in range(300):
        first, second = sorted(chance.choices(range(len(whole)), k=2))
        text = chance.choice([whole[:first] + whole[second:], whole[:second] + whole[first:]])
        try:
            meant = json.loads(text)
        except json.JSONDecodeError:
            with pytest.raises(json.JSONDecodeError):
                decode_in_steps(text, json.JSONDecoder(), 100)
        else:
            assert decode_in_steps(text, json.JSONDecoder(), 100) == meant


def test_levels_and_separators_are_counted_outside_of_strings() -> None:
    deep = "[" * 100 + f'"[[[{LONG}"' + "]" * 100
    assert decode_in_steps(deep, json.JSONDecoder(), 100) == json.loads(deep)
    with pytest.raises(TooDeep):
        decode_in_steps(f"[{deep}]", json.JSONDecoder(), 100)
    text = b'[1, {"a,[": "\\",["}, 3]'  # two brackets and two commas
    assert has_more_separators(text, 3)
    assert not has_more_separators(text, 4)
