"""Versions of models: what it costs to tell them, and that they are forgotten while they are told."""

from typing import Any

import pytest

from tests.engine.parts import POLICY, WatchedDatabase
from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import model_file, new_job
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.engine.queue import Queue
from thumbq_server.storage.model_versions import WRITE, WRITE_MISSING
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.forget import forget


class Forgetful(Database):
    """A database whose operator forgets model 1 when a version was written and its job is not there yet."""

    async def fetch(self, statement: Statement | str, *arguments: object, **options: Any) -> list[Any]:
        rows = await super().fetch(statement, *arguments, **options)
        if statement is WRITE:
            assert (await forget(self.lane(), 1)).job_ids
        return rows


async def test_a_version_that_is_told_while_its_model_is_forgotten_is_that_of_its_new_job(database: Database):
    async with Forgetful(database.dsn) as forgetful:
        queue = Queue(forgetful, policy=POLICY, unary_lease_seconds=600)
        await queue.take_in([new_job(1, 1)])
        [answer] = await queue.take_in([new_job(1, 2)], [NewVersion(7, 1, model_file(2))])
        assert await queue.versions.of_jobs([answer.job_id]) == {answer.job_id: 7}


async def test_a_version_whose_job_is_forgotten_before_its_producer_is_answered_stays_forgotten(database: Database):
    queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
    version = NewVersion(7, 1, model_file(2))
    answers = await queue.take_in([new_job(1, 2)], [version])
    await forget(queue.extend_lane, 1)
    await queue.versions.write_missing([version], answers)
    assert await queue.versions.read(7) is None


async def test_versions_that_many_producers_tell_at_once_are_written_together(database: Database):
    async with WatchedDatabase(database.dsn) as watched:
        queue = Queue(watched, policy=POLICY, unary_lease_seconds=600)
        told = [queue.take_in([new_job(model)], [NewVersion(model, model, model_file(1))]) for model in range(1, 101)]
        answers = await at_once(*told)
        written = [watched.asked.count(str(statement)) for statement in (WRITE, WRITE_MISSING)]
        assert max(written) <= 2
        job_ids = [answer.job_id for [answer] in answers]
        assert sorted((await queue.versions.of_jobs(job_ids)).values()) == list(range(1, 101))


@pytest.mark.parametrize("files", [(1, 2), (2, 1)])
async def test_of_several_files_of_one_version_that_are_told_together_the_last_one_counts(
    database: Database, files: tuple[int, int]
):
    queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
    versions = [NewVersion(7, 1, model_file(file)) for file in files]
    answers = await queue.take_in([new_job(1, file) for file in files], versions)
    assert await queue.versions.of_jobs([answer.job_id for answer in answers]) == {answers[-1].job_id: 7}
