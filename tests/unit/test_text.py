"""Text of strangers in the terminal and in the log of an operator."""

import json
import logging

import pytest

from thumbq_runtime.logs.level import LogLevel
from thumbq_runtime.logs.lines import JsonFormatter, LineFormatter, as_json
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


def test_a_line_as_json_has_its_fields_and_no_control_character_of_any_alphabet() -> None:
    record = logging.LogRecord("thumbq", logging.INFO, __file__, 1, "failed: %s", ("\x1b\x7f\x9b\u202e\u2028",), None)
    record.event, record.job_id = "job.failed", 7
    text = JsonFormatter("worker").format(record)
    assert text.isascii()
    assert text.isprintable()
    line = json.loads(text)
    assert line["message"] == "failed: \x1b\x7f\x9b\u202e\u2028"
    assert (line["program"], line["level"], line["event"], line["job_id"]) == ("worker", "info", "job.failed", 7)


@pytest.mark.parametrize(("text", "shown"), [("a\udc80.obj", "a\ufffd.obj"), ("\\udc80 🖼 \ud83d", "\\udc80 🖼 \ufffd")])
def test_a_line_as_json_has_no_half_of_a_character(text: str, shown: str) -> None:
    line = as_json({"event": "request.broken", "path": text})
    assert json.loads(line)["path"] == shown
    assert line.isascii()


def test_the_level_goes_to_debug_and_back() -> None:
    levels: list[int] = []
    level = LogLevel("error", levels.append)
    level.toggle()
    level.toggle()
    assert levels == [logging.ERROR, logging.DEBUG, logging.ERROR]
