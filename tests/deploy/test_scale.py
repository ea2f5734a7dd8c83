"""docs/scale.md says what the files of deploy/kubernetes have."""

from pathlib import Path

from tests.deploy.test_kubernetes import DEPLOYMENTS, container, environment

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text()


def test_servers_and_gateways_are_as_many_as_a_thousand_jobs_a_second_take() -> None:
    server, gateway = DEPLOYMENTS["thumbq-server"], DEPLOYMENTS["thumbq-gateway"]
    servers, gateways = server["spec"]["replicas"], gateway["spec"]["replicas"]
    assert f"`deploy/kubernetes` has this: {servers} servers and {gateways} gateways" in PAGE
    assert int(environment(server)["THUMBQ_PROCESSES"]) == servers + 1
    assert container(gateway)["resources"]["limits"]["memory"] == "1Gi"
    assert "127 MiB of its limit of 1 GiB" in PAGE
