"""Text of strangers in the terminal and in the log of an operator."""

import logging

import pytest

from thumbq_runtime.lines import LineFormatter
from thumbq_runtime.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Möbel 椅子", "Möbel 椅子"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b2J", r"\x9b2J"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("no\u00a0break, \u0645\u06cc\u200c\u062e", "no\u00a0break, \u0645\u06cc\u200c\u062e"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_message_stays_on_its_line_and_a_traceback_keeps_its_own() -> None:
    formatter = LineFormatter("%(message)s")
    record = logging.LogRecord("thumbq", logging.INFO, __file__, 1, "failed: %s", ("a\nforged line\x1b[0m",), None)
    assert formatter.format(record) == r"failed: a\nforged line\x1b[0m"
    try:
        raise ValueError("\x1b[0m")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    lines = formatter.format(record).splitlines()
    assert lines[1].startswith("Traceback")
    assert lines[-1] == r"ValueError: \x1b[0m"
