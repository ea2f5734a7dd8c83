"""`thumbq serve`, `server` and `gateway` replace themselves by the program."""

import importlib.metadata
import importlib.util
import os
import sys

import pytest
from typer.testing import CliRunner

from thumbq.cli import app


@pytest.mark.parametrize(
    ("command", "absent", "extra"),
    [("serve", "aiohttp", "gateway"), ("server", "sqlalchemy", "server"), ("gateway", "aiohttp", "gateway")],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, command: str, absent: str, extra: str) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else find_spec(name))
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 1
    assert result.stderr == f"thumbq: this command needs more than is installed: pip install 'thumbq[{extra}]'\n"


def test_an_option_becomes_a_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    became = list[tuple[list[str], dict[str, str]]]()
    monkeypatch.setattr(os, "execve", lambda _, command, variables: became.append((command, variables)))
    for name in [name for name in os.environ if name.startswith("THUMBQ_")]:
        monkeypatch.delenv(name)
    CliRunner().invoke(app, ["gateway", "--http-port", "0", "--server", "127.0.0.1:7"])
    [(command, variables)] = became
    assert command[-2:] == ["-m", "thumbq_gateway"]
    ours = {name: value for name, value in variables.items() if name.startswith("THUMBQ_")}
    assert ours == {"THUMBQ_HTTP_PORT": "0", "THUMBQ_SERVER": "127.0.0.1:7"}


def test_an_interpreter_that_cannot_be_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    result = CliRunner().invoke(app, ["server"])
    assert result.exit_code == 1
    assert result.stderr == (
        "thumbq: /nowhere/python cannot be run: No such file or directory."
        " Install thumbq where the user who runs it may read it.\n"
    )


def test_the_version_is_shown() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"thumbq {importlib.metadata.version('thumbq')}\n")
