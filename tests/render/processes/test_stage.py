"""The folder that a renderer works in does not outlive its worker for long."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from thumbq.render.drawing.stage import PREFIX, Stage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_stage_that_is_in_use_is_left_alone_and_then_removed(folder: Path):
    first = Stage()
    (first.path / "checked" / "model").touch()
    second = Stage()
    assert sorted(folder.iterdir()) == sorted([first.path, second.path])
    first.remove()
    second.remove()
    assert not list(folder.iterdir())


def test_the_stage_of_a_killed_worker_goes_when_another_starts(folder: Path):
    code = f"import tempfile; tempfile.tempdir = {str(folder)!r}\n"
    code += "from thumbq.render.drawing.stage import Stage; print(Stage().path, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout
        left = Path(worker.stdout.readline().strip())
        assert left.name.startswith(PREFIX)
        Stage().remove()
        assert left.is_dir()
        worker.kill()
    Stage().remove()
    assert not left.exists()


def test_a_folder_of_that_name_which_is_a_link_is_left_alone(folder: Path):
    (folder / "other").mkdir()
    (folder / "other" / "file").touch()
    (folder / f"{PREFIX}link").symlink_to(folder / "other")
    Stage().remove()
    assert (folder / "other" / "file").exists()
