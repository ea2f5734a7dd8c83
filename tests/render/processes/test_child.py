"""The processes that read models: what they get to know, and what happens when one dies at its start."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.processes import is_running, wait_for_end
from tests.support.waiting import eventually
from thumbq.render.child import Child, Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
# Each start leaves a file, and the process lives from a certain start on.
DIES = """
import os, signal, sys, tempfile
folder, lives_from = sys.argv[1], int(sys.argv[2])
tempfile.mkstemp(dir=folder)
if len(os.listdir(folder)) < lives_from:
    os.kill(os.getpid(), signal.SIGSEGV)
print('{"ready": true}', flush=True)
sys.stdin.read()
"""
TELLS = """
import json, os, sys
print(json.dumps({"ready": True, "environment": dict(os.environ)}), flush=True)
sys.stdin.read()
"""
# It is ready, and then answers each request with what is in a file.
SAYS = """
import sys
print('{"ready": true}', flush=True)
for _line in sys.stdin:
    print(open(sys.argv[1]).read(), flush=True)
"""
# It is ready, and closes its answers at the first request, but goes on.
CLOSES = """
import os, sys, time
print('{"ready": true}', flush=True)
sys.stdin.readline()
os.close(1)
time.sleep(3600)
"""
NONSENSE = {
    "too much content": '{"bytes": 67108865}',
    "less than nothing": '{"bytes": -1}',
    "a count that is no number": '{"bytes": "1"}',
    "a failure that is no sentence": '{"failure": {"a": 1}}',
    "a stage that is none": '{"seconds": {"a": 1.0}}',
    "names that are no words": '{"wants": [1]}',
    "no table": "[]",
    "no JSON": "no JSON",
    "too many levels": "[" * 100_000,
    "no end of the line": "a" * (5 << 20),
}
SECRETS = {
    *("THUMBQ_API_KEY", "THUMBQ_API_KEY_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "DATABASE_URL", "PGPASSWORD", "https_proxy"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "THUMBQ_LISTEN_URL", "THUMBQ_MODELS", "PGPASSFILE"),
    *("AZURE_STORAGE_CONNECTION_STRING", "SENTRY_DSN"),
}
# Python runs this file before anything else; it ends the first process that is to draw.
FIRST_DRAWING_DIES = """
import os, signal, sys
from pathlib import Path
died = Path(__file__).with_name("died")
if any("f3d" in word for word in sys.orig_argv) and not died.exists():
    died.touch()
    os.kill(os.getpid(), signal.SIGSEGV)
"""


async def test_a_process_that_reads_models_knows_no_secret_of_its_worker(monkeypatch: pytest.MonkeyPatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("MIRROR", "https://reader:a%20secret@models.example/{model_hash}")
    monkeypatch.setenv("LOOSE_MIRROR", "models at ftp://a@secret@models.example and elsewhere")
    monkeypatch.setenv("OPEN_MIRROR", "https://models.example/@latest")
    monkeypatch.setenv("THUMBQ_COLOUR", "teal")
    child = Child("Drawing", TELLS, [], Limits(), {"THUMBQ_STAGE": "here"})
    try:
        environment = (await child.start())["environment"]
    finally:
        await child.close()
    assert not SECRETS & environment.keys()
    assert "a secret" not in environment.values()
    assert environment.keys() & {"MIRROR", "LOOSE_MIRROR", "OPEN_MIRROR"} == {"OPEN_MIRROR"}
    assert (environment["THUMBQ_COLOUR"], environment["THUMBQ_STAGE"]) == ("teal", "here")


@asynccontextmanager
async def _child(folder: Path, lives_from: int) -> AsyncIterator[Child]:
    child = Child("Drawing", DIES, [str(folder), str(lives_from)], Limits(), {})
    try:
        yield child
    finally:
        await child.close()


async def test_a_process_that_dies_at_its_start_is_started_again(tmp_path: Path):
    async with _child(tmp_path, lives_from=2) as child:
        assert await child.start() == {"ready": True}
        assert child.pid
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_process_that_dies_at_its_second_start_too_is_given_up_with_a_sentence(tmp_path: Path):
    async with _child(tmp_path, lives_from=9) as child:
        with pytest.raises(RenderFailed, match=r"^The renderer cannot start: .*\(SIGSEGV\)\.$") as failure:
            await child.start()
        assert child.pid is None
    assert failure.value.retryable
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_request_starts_a_dying_process_no_more_often(tmp_path: Path):
    async with _child(tmp_path, lives_from=9) as child:
        with pytest.raises(RenderFailed, match=r"^The renderer cannot start: "):
            await child.ask({"model": "a.obj"})
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_a_process_that_answers_nonsense_is_ended_and_its_file_is_at_fault(answer: str, tmp_path: Path):
    await _ends_for_its_answer(tmp_path, answer)


@pytest.mark.parametrize("answer", ['{"path": "a"}', '{"remarks": []}', '{"failure": ""}', '{"wants": ["a"]}'])
async def test_an_answer_that_lacks_something_makes_no_sense(answer: str, tmp_path: Path):
    await _ends_for_its_answer(tmp_path, answer, "path", "remarks")


async def _ends_for_its_answer(tmp_path: Path, answer: str, *needed: str) -> None:
    (tmp_path / "answer").write_text(answer)
    child = Child("Drawing", SAYS, [str(tmp_path / "answer")], Limits(seconds=3600), {})
    try:
        await child.start()
        process = child.pid
        assert process
        with pytest.raises(RenderFailed, match=r"^Drawing gave an answer that makes no sense\.$") as failure:
            await child.ask({"model": "a.obj"}, *needed)
        assert not failure.value.retryable
        assert not is_running(process)
    finally:
        await child.close()


async def test_a_process_that_closes_its_answers_and_goes_on_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("thumbq.render.child.FAREWELL", 1.0)
    child = Child("Drawing", CLOSES, [], Limits(seconds=3600), {})
    try:
        await child.start()
        process = child.pid
        assert process
        async with asyncio.timeout(60):
            with pytest.raises(RenderFailed, match=r"^Drawing gave an answer that makes no sense\.$"):
                await child.ask({"model": "a.obj"})
        await asyncio.to_thread(wait_for_end, [process])
    finally:
        await child.close()


async def test_a_process_that_closed_its_answers_ends_with_the_job_that_waits_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("thumbq.render.child.FAREWELL", 3600)
    child = Child("Drawing", CLOSES, [], Limits(seconds=3600), {})
    try:
        await child.start()
        process = child.pid
        assert process
        job = asyncio.create_task(child.ask({"model": "a.obj"}))
        answers = Path(f"/proc/{process}/fd/1")

        async def is_silent() -> bool:
            return not await asyncio.to_thread(os.path.lexists, answers)

        await eventually(is_silent)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert child.pid is None
        assert not is_running(process)
    finally:
        await child.close()


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
async def test_a_renderer_whose_driver_dies_at_the_start_becomes_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sitecustomize.py").write_text(FIRST_DRAWING_DIES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with Renderer(Limits()) as renderer:
        await renderer.start()
        assert renderer.pid
    assert (tmp_path / "died").exists()
