"""Programs of users are checked strictly, in an environment without any package of stubs."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import grpc
import pytest
from google import protobuf

import thumbq

FOLDER = Path(__file__).parent
PYRIGHT = FOLDER / "checker" / "node_modules" / ".bin" / "pyright"
# Lines that each are wrong in one way. Without types-protobuf, mypy knows the messages of the protocol only in part.
MISTAKES = """
from thumbq import Client, Job, NewJob, Producer, Thumbnail, Worker

def number(job: Job) -> int:
    return job.id

async def use(client: Client, producer: Producer, worker: Worker, job: Job) -> None:
    await worker.run(number)  # wrong
    await client.enqueue("7", "a" * 64)  # wrong
    await client.job(7, status="Failed")  # wrong
    client.jobs(status="Fialed")  # wrong
    await producer.enqueue_one(NewJob(model_id="7"))  # wrong
    await producer.enqueue([job])  # wrong in a message
    Thumbnail(b"/thumbnails/a.png", 1, 1, 1)  # wrong
    print(job.model_name)  # wrong in a message
    print(job.created_at + 1)  # wrong in a message
    return (await client.thumbnail(7)).url  # wrong
"""


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the SDK and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for module in (thumbq, grpc):
        (packages / module.__name__).symlink_to(Path(module.__path__[0]))
    (packages / "google").symlink_to(Path(protobuf.__path__[0]).parent)
    return folder / "bin" / "python"


def errors_of_mypy(interpreter: Path, program: Path) -> list[int]:
    """Return the lines of the errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--output=json"]
    cache = f"--cache-dir={interpreter.parents[1] / 'mypy'}"
    result = subprocess.run(
        [*command, cache, f"--python-executable={interpreter}", program], capture_output=True, text=True, check=False
    )
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    errors = [json.loads(line) for line in result.stdout.splitlines()]
    return sorted({error["line"] for error in errors if error["severity"] == "error"})


def errors_of_pyright(interpreter: Path, program: Path, folder: Path) -> list[int]:
    """Return the lines of the errors. Skips the test without pyright."""
    if shutil.which("node") is None or not PYRIGHT.exists():
        pytest.skip("node or pyright is not installed (make test installs pyright where npm is there)")
    settings = folder / "pyrightconfig.json"
    settings.write_text(json.dumps({"include": [str(program)], "typeCheckingMode": "strict", "pythonVersion": "3.11"}))
    command: list[Path | str] = [PYRIGHT, "--outputjson", "--pythonpath", interpreter, "--project", settings]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    answer = json.loads(result.stdout)
    assert answer["summary"]["filesAnalyzed"] == 1
    return sorted({error["range"]["start"]["line"] + 1 for error in answer["generalDiagnostics"]})


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    program = tmp_path / "mistakes.py"
    program.write_text(MISTAKES)
    return program


def marked(*marks: str) -> set[int]:
    return {number for number, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith(marks)}


def test_mypy_takes_every_call_of_the_sdk(interpreter: Path):
    assert errors_of_mypy(interpreter, FOLDER / "program.py") == []


def test_mypy_finds_mistakes(interpreter: Path, mistakes: Path):
    found = set(errors_of_mypy(interpreter, mistakes))
    assert marked("# wrong") <= found <= marked("# wrong", "# wrong in a message")


@pytest.mark.node
def test_pyright_takes_every_call_of_the_sdk(interpreter: Path, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text((FOLDER / "program.py").read_text())
    assert errors_of_pyright(interpreter, program, tmp_path) == []


@pytest.mark.node
def test_pyright_finds_each_mistake(interpreter: Path, mistakes: Path, tmp_path: Path):
    assert errors_of_pyright(interpreter, mistakes, tmp_path) == sorted(marked("# wrong", "# wrong in a message"))
