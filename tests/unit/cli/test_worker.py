"""`thumbq worker` refuses options that cannot work."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thumbq.cli import app


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ("ftp://models.example/{model_id}", "is neither a folder nor an http(s) URL."),
        ("https://models.example/one.glb", "names the same file for every model"),
    ],
)
def test_a_useless_source_of_models_is_refused_with_a_sentence(tmp_path: Path, models: str, sentence: str):
    ended = CliRunner().invoke(app, ["worker", f"--models={models}", f"--thumbnail-root={tmp_path}"])
    assert ended.exit_code == 1
    assert sentence in ended.output
    assert "Traceback" not in ended.output
