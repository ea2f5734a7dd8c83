"""The password of the database and the secret of the hubs, looked for where others may read."""

import json
from pathlib import Path

from tests.processes import descendants, wait_until
from tests.support.postgres.made_data import copy_data
from tests.support.service.served import Service, command_line, messages, request, serving, start

HUB_SECRET = "dcf4b8e1-hubs"  # of this test
PASSWORD = "s3cr3t-of-the-database"


def test_a_secret_is_in_no_command_line_no_log_no_answer_and_no_metric(folder: Path, made_data: Path) -> None:
    secret = folder.with_name("hub-secret")
    secret.write_text(HUB_SECRET)
    copy_data(made_data, folder)
    with serving(folder, THUMBQ_HUB_SECRET_FILE=str(secret)) as service:
        wait_until(service.is_ready, "/readyz answers 200", seconds=60)
        processes = {service.parent.pid, *descendants(service.parent.pid)}
        shown = [b" ".join(command_line(process)) for process in processes]
        shown += [service.get(path)[1] for path in ("metrics", "readyz", "openapi/v1.json", "nowhere")]
    shown.append(messages(folder).read_bytes())
    assert len(processes) > 3
    assert not [text for text in shown if HUB_SECRET.encode() in text]


def test_a_database_that_cannot_be_reached_is_told_without_its_password(folder: Path) -> None:
    file = folder.with_name("database-url")
    file.write_text(f"postgresql://thumbq:{PASSWORD}@127.0.0.1:1/thumbq")
    with start(folder, DATABASE_URL_FILE=str(file)) as parent:
        try:
            wait_until(lambda: "cannot be reached" in messages(folder).read_text(), "the outage is told", seconds=120)
            shown = [b" ".join(command_line(process)) for process in {parent.pid, *descendants(parent.pid)}]
        finally:
            parent.terminate()
            parent.wait()
    shown.append(messages(folder).read_bytes())
    assert not [text for text in shown if PASSWORD.encode() in text]


def test_where_strangers_may_report_a_thumbnail_is_in_the_own_folder_or_refused(folder: Path, made_data: Path) -> None:
    copy_data(made_data, folder)
    with serving(folder, THUMBQ_HTTP_HOST="0.0.0.0", THUMBQ_INSECURE="1") as service:
        wait_until(service.is_ready, "/readyz answers 200", seconds=60)
        assert _completed(service, 1, "/somewhere/else.png") == 400
        assert _completed(service, 2, str(folder / "thumbnails/a.png")) == 200
        assert _completed(service, 3, "/default/path") == 200


def _completed(service: Service, model: int, path: str) -> int:
    """Report a thumbnail of a new job, and return the status of the answer."""
    jobs = f"{service.page}api/thumbnail-jobs"
    assert request(jobs, {"modelId": model, "modelHash": "ab" * 32})[0] == 200
    status, body = request(f"{jobs}/dequeue", {"workerId": "w", "wait": "10s"})
    assert status == 200, body
    report = {"thumbnailPath": path, "sizeBytes": 1, "width": 1, "height": 1}
    return request(f"{jobs}/{json.loads(body)['id']}/complete", report)[0]
