"""`thumbq enqueue --from`: lists of jobs, broken ones, and ones that were interrupted."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE

import pytest

from tests.support.network.ports import free_port
from tests.support.service.served import THUMBQ
from tests.support.service.server import running_server
from tests.support.terminal import on_terminal
from tests.wire.operator.test_cli_interventions import in_json, thumbq

pytestmark = pytest.mark.timeout(400)


def digest(number):
    return f"{number:064x}"


def csv_list(path, rows):
    path.write_text("modelId,modelHash,priority\n" + "".join(f"{row}\n" for row in rows))
    return path


async def ids_in_queue(server):
    return sorted(int(job["modelId"]) for job in await in_json(server, "jobs", "--limit", "9999"))


async def test_a_list_of_csv_becomes_jobs(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"{n},{digest(n)},{n % 10}" for n in range(1, 2502)])
    assert await thumbq(server, "enqueue", "--from", str(models)) == (0, "2501 jobs: 2501 created\n")
    assert await thumbq(server, "enqueue", "--from", str(models)) == (0, "2501 jobs: 2501 existing\n")
    assert await ids_in_queue(server) == list(range(1, 2502))
    assert [path.name for path in tmp_path.iterdir()] == ["models.csv"]


async def test_a_list_of_json_lines_has_the_words_of_the_json_routes(server, tmp_path):
    jobs = [{"modelId": 7, "modelHash": digest(7), "maxAttempts": 1}, {"model_id": "8", "model_hash": digest(8)}]
    models = tmp_path / "models.jsonl"
    models.write_text("\n".join(map(json.dumps, jobs)))
    assert await thumbq(server, "enqueue", "--from", str(models)) == (0, "2 jobs: 2 created\n")
    assert [job["maxAttempts"] for job in await in_json(server, "jobs", "--model-id", "7")] == [1]


BROKEN = {
    "no number": (f"x,{digest(3)},0", "Line 4 of models.csv is no job: "),
    "no hash": ("3,short,0", "Line 4 is refused: modelHash must be a SHA-256 in 64 hexadecimal digits. The jobs"),
    "a priority that is too high": (f"3,{digest(3)},10", "Line 4 is refused: "),
    "a cell too many": (f"3,{digest(3)},0,1", "it has another number of cells than the first line"),
    "a cell too few": (f"3,{digest(3)}", "it has another number of cells than the first line"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_line_is_named_and_the_same_command_goes_on_there(server, tmp_path, kind):
    broken, sentence = BROKEN[kind]
    good = [f"{n},{digest(n)},0" for n in (1, 2, 3, 4)]
    models = csv_list(tmp_path / "models.csv", [*good[:2], broken, good[3]])
    code, output = await thumbq(server, "enqueue", "--from", str(models))
    assert code == 1
    assert sentence in output
    assert output.endswith("The jobs before that line are in the queue.\n")
    assert await ids_in_queue(server) == [1, 2]
    csv_list(models, good)
    code, output = await thumbq(server, "enqueue", "--from", str(models))
    assert (code, output) == (0, "thumbq: Lines up to 3 are in the queue already.\n2 jobs: 2 created\n")
    assert await ids_in_queue(server) == [1, 2, 3, 4]


async def test_a_list_that_changed_before_its_position_is_refused(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0", "broken"])
    assert (await thumbq(server, "enqueue", "--from", str(models)))[0] == 1
    csv_list(models, [f"5,{digest(5)},0", f"2,{digest(2)},0"])
    code, output = await thumbq(server, "enqueue", "--from", str(models))
    assert code == 1
    assert output.startswith("thumbq: The list has changed since ")
    (tmp_path / "models.csv.position").unlink()
    assert await thumbq(server, "enqueue", "--from", str(models)) == (0, "2 jobs: 2 created\n")


async def test_a_list_whose_broken_end_is_cut_off_is_done(server, tmp_path):
    rows = [f"{n},{digest(n)},0" for n in (1, 2)]
    models = csv_list(tmp_path / "models.csv", [*rows, "broken"])
    assert (await thumbq(server, "enqueue", "--from", str(models)))[0] == 1
    csv_list(models, rows)
    code, output = await thumbq(server, "enqueue", "--from", str(models))
    assert (code, output) == (0, "thumbq: Lines up to 3 are in the queue already.\n0 jobs: nothing was left\n")
    assert [path.name for path in tmp_path.iterdir()] == ["models.csv"]


async def test_a_position_counts_for_the_queue_that_it_was_reached_in(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0", "broken"])
    assert (await thumbq(server, "enqueue", "--from", str(models)))[0] == 1
    csv_list(models, [f"1,{digest(1)},0"])
    position, away = tmp_path / "models.csv.position", f"127.0.0.1:{free_port()}"
    assert await thumbq(away, "enqueue", "--from", str(models)) == (
        1,
        f"thumbq: {position} is of the queue at {server}: remove that file to begin the list at {away}.\n",
    )
    # Earlier versions did not note the server.
    noted = json.loads(position.read_text())
    assert noted.pop("server") == server
    position.write_text(json.dumps(noted))
    assert (await thumbq(server, "enqueue", "--from", str(models)))[0] == 0


async def test_a_list_is_not_said_to_be_at_fault_for_an_output_that_is_full(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0"])
    shell = ["sh", "-c", 'exec "$0" "$@" >/dev/full', THUMBQ, "enqueue", "--from", models, "--server", server]
    started = await asyncio.create_subprocess_exec(*shell, stderr=PIPE)
    _, errors = await started.communicate()
    assert errors.decode() == "thumbq: The output cannot be written: No space left on device.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["models.csv"]


async def test_a_list_goes_on_after_an_outage(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0"])
    away = f"127.0.0.1:{free_port()}"
    code, output = await thumbq(away, "enqueue", "--from", str(models))
    assert (code, output) == (1, f"thumbq: The server at {away} cannot be reached. Is `thumbq serve` running?\n")
    assert await thumbq(server, "enqueue", "--from", str(models)) == (0, "1 jobs: 1 created\n")


async def test_a_list_that_is_not_there_or_no_text_is_a_sentence(server, tmp_path):
    code, output = await thumbq(server, "enqueue", "--from", str(tmp_path / "none.csv"))
    assert (code, output) == (1, f"thumbq: {tmp_path / 'none.csv'} cannot be used: No such file or directory.\n")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xff")
    code, output = await thumbq(server, "enqueue", "--from", str(tmp_path / "picture.csv"))
    assert (code, output.startswith("thumbq: Line 1 of picture.csv is no job: it is not UTF-8.")) == (1, True)


async def test_a_bar_is_shown_on_a_terminal_only(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"{n},{digest(n)},0" for n in range(1, 1502)])

    def watched() -> tuple[int, str]:
        with on_terminal([THUMBQ, "enqueue", "--from", models, "--server", server]) as terminal:
            seen = terminal.shows("1501 jobs: 1501 created")
            return terminal.ends()[0], seen

    code, seen = await asyncio.to_thread(watched)
    assert code == 0
    assert "enqueued" in seen
    assert "100%" in seen


async def test_what_is_said_beside_a_bar_has_lines_of_its_own(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0", "broken"])

    def lines() -> list[str]:
        with on_terminal([THUMBQ, "enqueue", "--from", models, "--server", server], columns=200) as terminal:
            shown = terminal.ends()[1]
        # The last of what was drawn on each line.
        drawn = [line.rstrip("\r").split("\x1b[2K")[-1] for line in shown.split("\n")]
        return [re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", line).strip("\r") for line in drawn]

    sentence = "thumbq: Line 3 of models.csv is no job: it has another number of cells than the first line."
    assert f"{sentence} The jobs before that line are in the queue." in await asyncio.to_thread(lines)
    assert "thumbq: Lines up to 2 are in the queue already." in await asyncio.to_thread(lines)


async def test_a_list_waits_while_the_queue_is_full(database_url, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0"])
    async with running_server(database_url, queue_limit=1) as server:
        code, output = await thumbq(server, "enqueue", "--model-id", "2", "--hash", digest(2))
        assert (code, output) == (0, "job 1 for model 2: created\n")
        started = await started_with_pipes(server, str(models))
        waits = (await started.stderr.readline()).decode()
        assert waits.startswith(f"thumbq: The list waits for the server: {server}: The queue is full")
        assert await thumbq(server, "cancel", "1") == (0, "Job 1 is cancelled.\n")
        assert await started.communicate() == (b"1 jobs: 1 created\n", b"")
        assert started.returncode == 0


async def started_with_pipes(server, name):
    return await asyncio.create_subprocess_exec(
        THUMBQ, "enqueue", "--from", name, "--server", server, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


async def test_a_list_comes_through_a_pipe_as_csv_too(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"{n},{digest(n)},0" for n in (1, 2)]).read_bytes()
    started = await started_with_pipes(server, "-")
    assert await started.communicate(models) == (b"2 jobs: 2 created\n", b"")
    os.mkfifo(tmp_path / "pipe")
    started = await started_with_pipes(server, str(tmp_path / "pipe"))
    await asyncio.to_thread((tmp_path / "pipe").write_bytes, models)
    assert await started.communicate() == (b"2 jobs: 2 existing\n", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.csv", "pipe"]


async def test_a_list_without_room_for_a_note_goes_into_the_queue_all_the_same(server, tmp_path):
    # Its note has a name of 254 bytes. That of a new note is longer than file systems take.
    name = "x" * 241 + ".csv"
    models = csv_list(tmp_path / name, [f"{n},{digest(n)},0" for n in range(1, 2002)])
    code, output = await thumbq(server, "enqueue", "--from", str(models))
    assert (code, output.count("cannot be written: File name too long.")) == (0, 1)
    assert output.endswith("Once interrupted, the list begins again.\n2001 jobs: 2001 created\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_a_list_leaves_the_files_beside_it_alone(server, tmp_path):
    models = csv_list(tmp_path / "models.csv", [f"1,{digest(1)},0", "broken"])
    (tmp_path / "models.csv.new").write_text("a list of its own")
    assert (await thumbq(server, "enqueue", "--from", str(models)))[0] == 1
    assert (tmp_path / "models.csv.new").read_text() == "a list of its own"
    assert (tmp_path / "models.csv.position").exists()
