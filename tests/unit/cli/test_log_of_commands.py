"""The log of the commands that use the database themselves."""

import json
import os
import subprocess
import sys

import pytest

WARNS = r"""
import structlog
from thumbq_runtime.logs.setup import configure_logging_of_command
configure_logging_of_command("db")
structlog.get_logger().warning("owner.strange", owner="ada\x1b[2J")
structlog.get_logger().info("tables.fit")
"""


def logged(form: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", WARNS],
        env=os.environ | {"THUMBQ_LOG_FORMAT": form},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout == ""
    return ended.stderr


def test_a_warning_of_a_command_does_nothing_to_the_terminal():
    (line,) = logged("text").splitlines()
    assert line.endswith(r"level='warning' event='owner.strange' owner='ada\x1b[2J'")


def test_a_warning_of_a_command_is_json_where_that_is_set():
    line = json.loads(logged("json"))
    assert (line["program"], line["event"], line["owner"]) == ("db", "owner.strange", "ada\x1b[2J")


@pytest.mark.parametrize("module", [("database_command", "check"), ("access", "admin", "ada", "")])
def test_a_form_that_is_none_is_refused_in_a_sentence(module: tuple[str, ...]):
    ended = subprocess.run(
        [sys.executable, "-m", f"thumbq_server.{module[0]}", *module[1:]],
        env=os.environ | {"THUMBQ_LOG_FORMAT": "loud"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "THUMBQ_LOG_FORMAT must be text, json or auto" in ended.stderr
