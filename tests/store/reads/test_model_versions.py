"""Versions of models: which file each is, and its picture."""

from tests.support.postgres.queue_under_test import QueueUnderTest, model_file, new_job, picture
from thumbq_server.domain.model_versions import NewVersion, VersionRecord
from thumbq_server.engine.versions import Versions
from thumbq_server.storage import model_versions


async def version(queue: QueueUnderTest, version_id: int) -> VersionRecord:
    record = await model_versions.read_version(queue.database, version_id)
    assert record is not None
    return record


async def test_a_job_is_of_the_newest_version_with_its_file(queue):
    [job_id, other] = await queue.enqueued(new_job(1), new_job(2))
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1)), NewVersion(8, 1, model_file(1))])
    assert await model_versions.of_jobs(queue.database, [job_id, other]) == {job_id: 8}


async def test_a_picture_is_that_of_each_version_of_the_file_and_of_no_other(queue):
    (token,) = await queue.claimed(new_job(1, file=1))
    files = {7: 1, 8: 1, 9: 2}
    await model_versions.write(
        queue.database, [NewVersion(number, 1, model_file(file)) for number, file in files.items()]
    )
    assert [(await version(queue, number)).path for number in files] == [None, None, None]
    await queue.complete(picture(token, "/a.webp"))
    assert [(await version(queue, number)).path for number in files] == ["/a.webp", "/a.webp", None]


async def test_a_version_keeps_its_picture_when_the_model_goes_to_another_file(queue):
    (old,) = await queue.claimed(new_job(1, file=1))
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1)), NewVersion(8, 1, model_file(2))])
    await queue.complete(picture(old, "/old.webp"))
    (new,) = await queue.claimed(new_job(1, file=2))
    await queue.complete(picture(new, "/new.webp"))
    assert [(await version(queue, number)).path for number in (7, 8)] == ["/old.webp", "/new.webp"]


async def test_writing_a_version_again_changes_nothing_and_another_file_takes_its_picture(queue):
    (token,) = await queue.claimed(new_job(1, file=1))
    await queue.complete(picture(token, "/a.webp"))
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1))])
    before = await version(queue, 7)
    assert before.path == "/a.webp"
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1))])
    assert await version(queue, 7) == before
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(2)), NewVersion(7, 1, model_file(2))])
    assert (await version(queue, 7)).path is None


async def test_a_report_that_was_refused_leaves_the_picture_alone(queue):
    (token,) = await queue.claimed(new_job(1))
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1))])
    await queue.complete(picture(token, "/good.webp"))
    await queue.complete(picture(token._replace(lease_seq=token.lease_seq + 9), "/stale.webp"))
    assert (await version(queue, 7)).path == "/good.webp"


async def test_another_server_notices_that_there_are_versions(queue):
    [job_id] = await queue.enqueued(new_job(1))
    one, other = Versions(queue.database), Versions(queue.database)
    await other()
    await one.write([NewVersion(7, 1, model_file(1))])
    assert await other.of_jobs([job_id]) == {}
    await other()
    assert await other.of_jobs([job_id]) == {job_id: 7}
