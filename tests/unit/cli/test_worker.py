"""`thumbq worker` refuses options that cannot work."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.service.served import THUMBQ
from thumbq.cli import app


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ("ftp://models.example/{model_id}", "is neither a folder nor an http(s) URL."),
        ("https://models.example/one.glb", "names the same file for every model"),
        ("s3://bucket/one.glb", "names the same object for every model"),
        ("s3://b/{model_hash}", "is no address of an object store"),
    ],
)
def test_a_useless_source_of_models_is_refused_with_a_sentence(tmp_path: Path, models: str, sentence: str):
    ended = CliRunner().invoke(app, ["worker", f"--models={models}", f"--thumbnail-root={tmp_path}"])
    assert ended.exit_code == 2
    assert sentence in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Say where the thumbnails go: --thumbnail-root or --thumbnail-store."),
        (["--thumbnail-store=bucket"], "'bucket' is no address of an object store, such as s3://bucket/prefix."),
    ],
)
def test_a_worker_needs_a_place_for_its_thumbnails(tmp_path: Path, options: list[str], sentence: str):
    ended = CliRunner().invoke(app, ["worker", f"--models={tmp_path}", *options])
    assert (ended.exit_code, sentence in " ".join(ended.output.split())) == (2, True)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("THUMBQ_LOG_LEVEL", "loud", "THUMBQ_LOG_LEVEL must be debug, info, warning or error"),
        ("THUMBQ_SERVER", "http://127.0.0.1:5009", "is an address of HTTP"),
        ("THUMBQ_CERT", "{}/nothing.pem", "THUMBQ_CERT and THUMBQ_KEY belong together: give both, or neither."),
        ("THUMBQ_CA", "{}/nothing.pem", "nothing.pem, which cannot be read: No such file or directory."),
        ("THUMBQ_API_KEY_FILE", "{}/nothing", "THUMBQ_API_KEY_FILE cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_a_worker_for_good(tmp_path: Path, variable: str, value: str, sentence: str):
    """systemd starts a worker again unless it exits with 2."""
    options = [f"--models={tmp_path}", f"--thumbnail-root={tmp_path}", "--concurrency=1"]
    ended = subprocess.run(
        [THUMBQ, "worker", *options],
        env=os.environ | {"THUMBQ_SERVER": "grpcs://127.0.0.1:1", variable: value.format(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (ended.returncode, sentence in " ".join(ended.stderr.split())) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("127.0.0.1", "Nothing can listen on 127.0.0.1:{port}: Address already in use."),
        ("no..name", "Nothing can listen on 'no..name': this is no name of a host."),
    ],
)
def test_a_port_of_metrics_that_cannot_be_had_is_told_before_anything_starts(tmp_path: Path, host: str, sentence: str):
    options = [f"--models={tmp_path}", f"--thumbnail-root={tmp_path}", f"--metrics-host={host}"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = CliRunner().invoke(app, ["worker", *options, f"--metrics-port={port}"])
    assert (ended.exit_code, " ".join(ended.output.split())) == (1, f"thumbq: {sentence.format(port=port)}")
