"""The files of deploy/kubernetes fit each other and the code; `make check-deploy` compares them with the schemas."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.declared import AWS, assert_read, command, listened_on
from thumbq_gateway.app import _GRACE
from thumbq_runtime.files.objects import checked_address
from thumbq_server.rpc.serving.health import READY

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
BASE = KUBERNETES / "base"
SERVER_PORT = 50051


def documents(folder: Path = BASE) -> list[dict[str, Any]]:
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
    applied = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert sorted(applied["resources"]) == sorted(
        file.name for file in BASE.glob("*.yaml") if file.stem != "kustomization"
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


def test_a_gateway_answers_until_its_service_leads_to_the_others():
    gateway = DEPLOYMENTS["thumbq-gateway"]
    program, seconds = container(gateway)["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert int(seconds) + _GRACE < pod(gateway)["terminationGracePeriodSeconds"]


def test_a_worker_has_room_for_two_copies_of_the_largest_model_in_each_slot():
    worker = DEPLOYMENTS["thumbq-worker"]
    defaults = {option: parameter.default for parameter in command(["worker"]).params for option in parameter.opts}
    [slots] = [int(word.partition("=")[2]) for word in container(worker)["args"] if word.startswith("--concurrency=")]
    [room] = [volume["emptyDir"]["sizeLimit"] for volume in pod(worker)["volumes"] if volume["name"] == "tmp"]
    assert int(room.removesuffix("Gi")) * 1024 > slots * 2 * defaults["--model-size-limit"]


def test_gateways_and_workers_reach_every_server():
    service = of_kind("Service")["thumbq-server"]["spec"]
    assert service["clusterIP"] == "None"
    assert SERVER_PORT in {port["port"] for port in service["ports"]}
    for name in ("thumbq-gateway", "thumbq-worker"):
        assert environment(DEPLOYMENTS[name])["THUMBQ_SERVER"] == f"thumbq-server:{SERVER_PORT}"


def patches(kind: str) -> dict[str, dict[str, Any]]:
    """The patches for a store of pictures, by the name of what they change."""
    files = [entry["path"] for entry in yaml.safe_load((KUBERNETES / "s3/kustomization.yaml").read_text())["patches"]]
    assert sorted(files) == sorted(
        file.name for file in (KUBERNETES / "s3").glob("*.yaml") if file.stem != "kustomization"
    )
    documents = [yaml.safe_load((KUBERNETES / "s3" / file).read_text()) for file in files]
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def taken_away(entries: list[dict[str, Any]], key: str) -> set[str]:
    return {entry[key] for entry in entries if entry.get("$patch") == "delete"}


@EACH
def test_with_a_store_no_pod_has_the_folder_of_the_pictures(deployment):
    changes = pod(patches("Deployment")[deployment["metadata"]["name"]])
    [changed] = changes["containers"]
    assert changed["name"] == container(deployment)["name"]
    gone = taken_away(changed["env"], "name")
    assert gone == {name for name, value in environment(deployment).items() if value == "/thumbnails"}
    assert taken_away(changed["volumeMounts"], "mountPath") == {"/thumbnails"}
    assert taken_away(changes["volumes"], "name") == {"thumbnails"}
    assert [*patches("PersistentVolumeClaim")] == ["thumbnails"]


@EACH
def test_with_a_store_every_pod_is_told_where_it_is(deployment):
    [changed] = pod(patches("Deployment")[deployment["metadata"]["name"]])["containers"]
    assert changed["envFrom"] == [{"configMapRef": {"name": "thumbq-store"}}, {"secretRef": {"name": "thumbq-store"}}]
    [generated] = yaml.safe_load((KUBERNETES / "s3/kustomization.yaml").read_text())["configMapGenerator"]
    told = dict(line.split("=", 1) for line in generated["literals"])
    assert checked_address(told.pop("THUMBQ_THUMBNAIL_STORE"))
    assert_read(container(deployment)["args"], {"THUMBQ_THUMBNAIL_STORE": ""})
    assert told.keys() <= AWS


@pytest.mark.kubectl
@pytest.mark.parametrize("overlay", ["", "keda", "s3"])
def test_kustomize_builds_each_folder(overlay):
    built = subprocess.run(["kubectl", "kustomize", KUBERNETES / overlay], capture_output=True, text=True, check=True)
    documents = list(yaml.safe_load_all(built.stdout))
    assert {document["metadata"]["name"] for document in documents} >= DEPLOYMENTS.keys()
    assert ("/thumbnails" in built.stdout) == (overlay != "s3")


def test_keda_counts_the_jobs_that_wait():
    [scaled] = documents(KUBERNETES / "keda")
    assert scaled["spec"]["scaleTargetRef"]["name"] in DEPLOYMENTS
    # KEDA waits for it before it ends the last worker alone.
    assert scaled["spec"]["minReplicaCount"] == 1
    assert "cooldownPeriod" not in scaled["spec"]
    [trigger] = scaled["spec"]["triggers"]
    assert "`thumbq_jobs` | gauge | `status`" in (KUBERNETES.parents[1] / "docs/metrics.md").read_text()
    assert trigger["metadata"]["query"] == 'max(thumbq_jobs{status="pending"})'
