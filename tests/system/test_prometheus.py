"""Debian's Prometheus scrapes a real service; the alerts and the dashboard of deploy/ are about what it finds."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.network.ports import free_port
from tests.support.service.served import Service, data_folder, enqueue, request, serving

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yml"
RUNBOOK = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian's package prometheus)"),
]
# The gauges are measured every five seconds, and a rate needs two scrapes.
PATIENCE = 120.0


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    panels = json.loads((DEPLOY / "grafana/thumbq.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@contextmanager
def prometheus(folder: Path, server: int, gateway: str) -> Iterator[str]:
    """Run Prometheus with the files of deploy/, which scrapes every second here. Yield its URL."""
    settings = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(ALERTS)]
    # A render worker has its own test in tests/render.
    addresses = {"thumbq-server": f"127.0.0.1:{server}", "thumbq-gateway": gateway}
    settings["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in addresses.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(PROMETHEUS),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{address}/"
        finally:
            process.kill()


def answer(url: str, query: str) -> list[object]:
    """Return the series that a query finds; none while Prometheus starts."""
    status, body = request(f"{url}api/v1/query?query={urllib.parse.quote(query)}")
    result: list[object] = json.loads(body)["data"]["result"] if status == 200 else []
    return result


def work(service: Service) -> None:
    """Complete a job, fail another, and leave a third."""
    for model in (1, 2, 3):
        enqueue(service, model)
    jobs = service.page + "api/thumbnail-jobs/"
    for verb, fields in (
        ("complete", {"thumbnailPath": "/1.webp", "sizeBytes": 1, "width": 1, "height": 1}),
        ("fail", {"errorMessage": "boom"}),
    ):
        status, body = request(f"{jobs}dequeue", {"workerId": "w1"})
        assert status == 200, body
        job = json.loads(body)
        job = job.get("job", job)
        report = {"leaseToken": job["leaseToken"], **fields}
        status, body = request(f"{jobs}{job['id']}/{verb}", report)
        assert status == 200, body


def test_every_query_of_the_dashboard_finds_data_in_a_real_run(tmp_path: Path) -> None:
    port = free_port()
    with data_folder() as folder, serving(folder, THUMBQ_METRICS_PORT=str(port)) as service:
        work(service)
        with prometheus(tmp_path, port, urllib.parse.urlsplit(service.page).netloc) as url:
            missing = dashboard_queries()
            until = time.monotonic() + PATIENCE
            while missing and time.monotonic() < until:
                missing = [query for query in missing if not answer(url, query)]
                time.sleep(0.2)
            assert missing == [], (tmp_path / "prometheus.log").read_text()
            loaded = json.loads(request(f"{url}api/v1/rules")[1])["data"]["groups"][0]["rules"]
            assert [rule["name"] for rule in loaded] == [rule["alert"] for rule in rules()]
            assert {rule.get("lastError", "") for rule in loaded} == {""}


def test_promtool_accepts_the_files_and_the_alerts_ring_when_they_must(tmp_path: Path) -> None:
    folder = shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    (tmp_path / "viewer.key").write_text("tq_0_0")
    compose = folder / "compose.yml"
    compose.write_text(compose.read_text().replace("/secrets/", f"{tmp_path}/"))
    configurations = [("check", "config", name) for name in ("prometheus.yml", "compose.yml")]
    for command in (*configurations, ("test", "rules", "alerts_test.yml")):
        made = subprocess.run([str(PROMTOOL), *command], cwd=folder, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr


def test_every_alert_has_an_entry_in_the_runbook() -> None:
    assert [rule["alert"] for rule in rules()] == re.findall(r"^### (Thumbq\w+)$", RUNBOOK, re.MULTILINE)
    for rule in rules():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook"] == f"docs/runbook.md#{str(rule['alert']).lower()}"


def test_alerts_and_dashboard_name_metrics_that_exist() -> None:
    described = set(re.findall(r"^\| `(thumbq_\w+)` \|", PAGE, re.MULTILINE))
    queries = [*dashboard_queries(), *(str(rule["expr"]) for rule in rules())]
    used = {name for query in queries for name in re.findall(r"thumbq_\w+", query)}
    assert {re.sub(r"_(sum|count|bucket)$", "", name) for name in used} <= described
