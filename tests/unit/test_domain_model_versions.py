"""What a version shows, by the state of the job of its file."""

from datetime import UTC, datetime

import pytest

from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.model_versions import VersionRecord, shown
from thumbq_server.domain.records import ThumbnailRecord

NOTHING = ThumbnailRecord(42, ThumbnailStatus.NONE, *[None] * 8)
MOMENT = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("job_status", "attempts", "path", "status"),
    [
        (None, None, None, ThumbnailStatus.NONE),
        ("Pending", 0, None, ThumbnailStatus.PENDING),
        ("Pending", 0, "/a.webp", ThumbnailStatus.PENDING),
        ("Pending", 1, "/a.webp", ThumbnailStatus.FAILED),
        ("Processing", 1, None, ThumbnailStatus.PROCESSING),
        ("Completed", 1, "/a.webp", ThumbnailStatus.READY),
        ("Failed", 3, "/a.webp", ThumbnailStatus.FAILED),
        ("Cancelled", 1, "/a.webp", ThumbnailStatus.READY),
        ("Cancelled", 0, None, ThumbnailStatus.NONE),
    ],
)
def test_a_version_shows_the_state_of_its_job_and_keeps_its_last_picture(job_status, attempts, path, status):
    record = VersionRecord(42, b"hash", MOMENT, MOMENT, path, 1, 2, 3, job_status, attempts, "no triangles")
    thumbnail = shown(record, NOTHING)
    assert (thumbnail.model_id, thumbnail.status, thumbnail.path) == (42, status, path)
    assert (thumbnail.error_message is not None) == (status is ThumbnailStatus.FAILED)


def test_a_version_whose_file_the_model_shows_has_that_picture():
    record = VersionRecord(42, b"hash", MOMENT, None, None, None, None, None, "Completed", 1, None)
    model = ThumbnailRecord(42, ThumbnailStatus.READY, None, MOMENT, MOMENT, "/new.webp", 1, 2, 3, b"hash")
    assert (shown(record, model).path, shown(record, model).status) == ("/new.webp", ThumbnailStatus.READY)
    assert shown(record, model._replace(model_hash=b"other")).path is None
