"""The command line on systems other than Linux."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thumbq.cli import app

# `thumbq` without the modules that Windows has not.
ON_WINDOWS = """
import sys
sys.modules |= dict.fromkeys(("grp", "pwd", "resource", "termios", "tty"))
from thumbq.cli import main
main()
"""


def test_the_clients_need_no_module_of_linux() -> None:
    shown = subprocess.run([sys.executable, "-c", ON_WINDOWS, "--version"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_the_render_worker_says_that_it_needs_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    ended = CliRunner().invoke(app, ["worker", f"--models={tmp_path}", f"--thumbnail-root={tmp_path}"])
    assert (ended.exit_code, ended.output) == (1, "thumbq: The render worker needs Linux.\n")
