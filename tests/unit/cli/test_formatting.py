"""Lengths of time for people."""

from datetime import timedelta

import pytest

from thumbq.cli.output.formatting import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (86_400, "1 d")],
)
def test_a_length_of_time_shows_its_two_largest_units(seconds: float, text: str):
    assert format_duration(timedelta(seconds=seconds)) == text
