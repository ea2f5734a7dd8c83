"""The files of deploy/kubernetes fit each other and the code; `make check-deploy` compares them with the schemas."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.declared import assert_read, command, listened_on
from thumbq_server.rpc.health import READY

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
SERVER_PORT = 50051


def documents(folder: Path = FOLDER) -> list[dict[str, Any]]:
    files = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [
        document
        for file in files
        if file.endswith(".yaml")
        for document in yaml.safe_load_all((folder / file).read_text())
    ]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in documents() if document["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")
EACH = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=list(DEPLOYMENTS))


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    [found] = pod(deployment)["containers"]
    return dict(found)


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(deployment)["env"]}


def test_every_file_is_applied_and_every_image_has_a_version():
    assert list(DEPLOYMENTS) == ["thumbq-server", "thumbq-gateway", "thumbq-worker"]
    applied = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert sorted(applied["resources"]) == sorted(
        file.name for file in FOLDER.glob("*.yaml") if file.stem != "kustomization"
    )
    assert [image["name"] for image in applied["images"]] == list(DEPLOYMENTS)
    for name, deployment in DEPLOYMENTS.items():
        assert container(deployment)["image"] == name


@EACH
def test_a_pod_runs_a_command_with_options_and_variables_that_it_has(deployment):
    words = container(deployment)["args"]
    assert words[0] == container(deployment)["name"]
    command(words)
    assert_read(words, environment(deployment))


@EACH
def test_a_pod_opens_the_ports_that_it_names_and_its_service_leads_to_them(deployment):
    ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
    assert set(ports.values()) == listened_on(container(deployment)["args"], environment(deployment))
    service = of_kind("Service")[deployment["metadata"]["name"]]["spec"]
    assert service["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert {port["targetPort"] for port in service["ports"]} <= ports.keys()


@EACH
def test_a_pod_may_do_nothing_that_it_does_not_need(deployment):
    assert pod(deployment)["securityContext"]["runAsNonRoot"]
    assert pod(deployment)["automountServiceAccountToken"] is False
    rights = container(deployment)["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}


@EACH
def test_every_path_of_a_pod_is_mounted_and_every_volume_exists(deployment):
    mounted = {mount["mountPath"]: mount["name"] for mount in container(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
    assert set(mounted.values()) == volumes.keys()
    claims = {
        volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume
    }
    assert claims <= of_kind("PersistentVolumeClaim").keys()
    secrets = {f"/secrets/{item['path']}" for item in volumes["secrets"]["secret"]["items"]}
    paths = {value for value in environment(deployment).values() if value.startswith("/")}
    assert secrets == {path for path in paths if path.startswith("/secrets/")}
    assert {"/" + path.split("/")[1] for path in paths} | {"/tmp"} == mounted.keys()


@EACH
def test_some_pods_stay_while_nodes_are_emptied(deployment):
    budget = of_kind("PodDisruptionBudget")[deployment["metadata"]["name"]]["spec"]
    assert budget["selector"] == deployment["spec"]["selector"]
    assert deployment["spec"]["replicas"] > budget["maxUnavailable"]


def test_probes_ask_where_the_programs_answer():
    server, gateway, worker = (container(deployment) for deployment in DEPLOYMENTS.values())
    assert server["readinessProbe"]["grpc"] == {"port": SERVER_PORT, "service": READY}
    assert server["livenessProbe"]["grpc"] == {"port": SERVER_PORT}
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert gateway["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert worker["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}


def test_gateways_and_workers_reach_every_server():
    service = of_kind("Service")["thumbq-server"]["spec"]
    assert service["clusterIP"] == "None"
    assert SERVER_PORT in {port["port"] for port in service["ports"]}
    for name in ("thumbq-gateway", "thumbq-worker"):
        assert environment(DEPLOYMENTS[name])["THUMBQ_SERVER"] == f"thumbq-server:{SERVER_PORT}"


def test_keda_counts_the_jobs_that_wait():
    [scaled] = documents(FOLDER / "keda")
    assert scaled["spec"]["scaleTargetRef"]["name"] in DEPLOYMENTS
    [trigger] = scaled["spec"]["triggers"]
    assert "`thumbq_jobs` | gauge | `status`" in (FOLDER.parents[1] / "docs/metrics.md").read_text()
    assert trigger["metadata"]["query"] == 'max(thumbq_jobs{status="pending"})'
