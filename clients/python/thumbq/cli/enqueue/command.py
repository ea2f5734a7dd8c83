"""`thumbq enqueue`: puts jobs for model files into the queue."""

import hashlib
from itertools import count
from json import JSONDecodeError
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from thumbq.cli.enqueue.from_list import enqueue_list
from thumbq.cli.enqueue.job_lists import parse_json
from thumbq.cli.errors import TIMEOUT, fail, run
from thumbq.cli.options import LARGEST_ID, LOCAL, Server, id_option
from thumbq.cli.output.formatting import out
from thumbq.options import check_exact
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import EnqueueOutcome, NewJob
from thumbq_runtime.enum_words import words_of

ModelId = Annotated[
    int | None,
    id_option("Id of the model; further files count up from it. Default: the number that begins a file's name."),
]
ListOfJobs = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="LIST",
        help="A list of jobs: CSV whose first line names the fields (modelId, modelHash, priority, assetType, options,"
        " ...), or else a JSON object a line; - is standard input. An interrupted command goes on where it was.",
    ),
]
Kind = Annotated[str, typer.Option(help="What the files are: only workers that name this kind get the jobs.")]
Options = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="What the worker has to know: a JSON object of at most 4 KiB."),
]
Matter = Annotated[bool, typer.Option("--options-matter", help="Render again where the job exists with other options.")]


def enqueue(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Model files. The hash is taken from what they contain."),
    ] = None,
    model_id: ModelId = None,
    model_hash: Annotated[
        str | None, typer.Option("--hash", help="SHA-256 of the model file, where the file is not at hand.")
    ] = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="Higher first.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Render again even if the picture is there.")] = False,
    kind: Kind = "Model",
    options: Options = None,
    options_matter: Matter = False,
    listed: ListOfJobs = None,
    server: Server = LOCAL,
) -> None:
    """Ask for thumbnails of model files, of one model by its id and hash, or of all in a list.

    Example: thumbq enqueue --from models.csv
    """
    if listed:
        if files or model_hash or model_id or priority or force or kind != "Model" or options or options_matter:
            fail("--from takes everything from the list: give no files and no options of jobs beside it.")
        run(server, enqueue_list(server, listed))
        return
    if model_hash and not files:
        if model_id is None:
            fail("--hash needs the --model-id that it belongs to.")
        models = [(model_id, model_hash)]
    elif files and not model_hash:
        if model_id is not None and model_id + len(files) - 1 > LARGEST_ID:
            fail(f"--model-id {model_id} leaves no ids for {len(files)} files: the largest is {LARGEST_ID}.")
        ids = count(model_id) if model_id is not None else map(_id_from_name, files)
        models = [(number, _hash(file)) for number, file in zip(ids, files, strict=False)]
    else:
        fail("Give model files, --model-id and --hash, or --from with a list.")
    common = NewJob(
        priority=priority,
        force=force,
        kind="" if kind == "Model" else kind,
        options=_object(options) if options is not None else None,
        options_matter=options_matter,
    )
    jobs = [NewJob(model_id=number, model_hash=text) for number, text in models]
    for job in jobs:
        job.MergeFrom(common)
    run(server, _enqueue(server, jobs))


async def _enqueue(server: str, jobs: list[NewJob]) -> None:
    words = words_of(EnqueueOutcome.DESCRIPTOR)
    async with Producer(server, timeout=TIMEOUT) as producer:
        for job, enqueued in zip(jobs, await producer.enqueue(jobs), strict=True):
            outcome = words.get(enqueued.outcome, str(enqueued.outcome)).lower()
            out.print(f"job {enqueued.job_id} for model {job.model_id}: {outcome}")


def _object(text: str) -> Struct:
    try:
        found = parse_json(text)
        check_exact(found)
        return ParseDict(found, Struct())
    except (JSONDecodeError, ParseError):
        fail(f"--options must be a JSON object, such as '{{\"size\": 512}}', and not {text}.")
    except ValueError as problem:
        fail(f"--options cannot be taken as they are: {problem}.")


def _id_from_name(file: Path) -> int:
    # As the reference worker finds them: <id>.glb or <id>-<name>.glb.
    number = file.stem.partition("-")[0]
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) <= LARGEST_ID:
        fail(f"{file.name} is not named by a number, so --model-id has to say which model it is.")
    return int(number)


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")
