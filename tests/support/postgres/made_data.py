"""A data folder with an empty queue, made once for a run of the tests: to make one takes seconds, to copy it none."""

import asyncio
import fcntl
import shutil
from pathlib import Path

from tests.support.postgres.standby import copy_cluster
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.files.private import make_data_folder
from thumbq_server.storage.migrations import upgrade


async def made_once(folder: Path) -> Path:
    """Return the folder, with a cluster at rest whose tables are made. The first test process that asks makes it."""
    with folder.with_suffix(".lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            with EmbeddedPostgres(unfinished) as dsn:
                await upgrade(dsn)
            unfinished.rename(folder)
    return folder


def copy_data(made: Path, folder: Path) -> Path:
    """Give a new folder a copy of the cluster, and return it."""
    make_data_folder(folder)
    copy_cluster(made / "postgres", folder / "postgres")
    return folder
