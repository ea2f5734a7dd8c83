"""What a version shows, by the state of the job of its file."""

from datetime import UTC, datetime

import pytest

from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.model_versions import VersionRecord, shown

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
    thumbnail = shown(record)
    assert (thumbnail.model_id, thumbnail.status, thumbnail.path) == (42, status, path)
    assert (thumbnail.error_message is not None) == (status is ThumbnailStatus.FAILED)
