"""Variables that look like settings and are none."""

import re
from pathlib import Path

import pytest

from thumbq_runtime.settings.environment import KNOWN, forget_strangers, reach_this_machine_directly
from thumbq_runtime.settings.shared import DATABASE_VARIABLES

SETTINGS = Path(__file__).parents[3] / "docs/settings.md"


def test_every_documented_setting_is_known_and_no_other() -> None:
    assert set(re.findall(r"`(THUMBQ_[A-Z_]+)`", SETTINGS.read_text())) == KNOWN


def test_a_typing_error_is_named_with_what_was_meant() -> None:
    environment = {"THUMBQ_LEASE_DURATON": "60", "THUMBQ_COLOUR": "red", "THUMBQ_GRPC_PORT": "0", "HOME": "/home/queue"}
    assert forget_strangers(environment) == [
        "THUMBQ_COLOUR is no setting of thumbq and is ignored.",
        "THUMBQ_LEASE_DURATON is no setting of thumbq and is ignored; did you mean THUMBQ_LEASE_DURATION?",
    ]
    assert environment == {"THUMBQ_GRPC_PORT": "0", "HOME": "/home/queue"}


def test_the_variables_that_kubernetes_sets_for_services_are_no_settings() -> None:
    environment = {
        "THUMBQ_HTTP_PORT": "tcp://10.0.0.1:80",
        "THUMBQ_GRPC_PORT": "tcp://[fd00::1]:50051",
        "THUMBQ_PORT": "tcp://10.0.0.1:80",
        "THUMBQ_PORT_80_TCP": "tcp://10.0.0.1:80",
        "THUMBQ_HTTP_PORT_80_TCP_ADDR": "10.0.0.1",
        "THUMBQ_SERVICE_HOST": "10.0.0.1",
        "THUMBQ_SERVICE_PORT": "80",
        "THUMBQ_SERVICE_PORT_GRPC": "50051",
    }
    assert forget_strangers(environment) == []
    assert environment == {}


def test_of_several_databases_the_one_of_our_own_variable_counts_for_every_program() -> None:
    for first, *others in (DATABASE_VARIABLES[number:] for number in range(len(DATABASE_VARIABLES))):
        environment = dict.fromkeys([*others, first], "postgresql://a/b")
        assert forget_strangers(environment) == []
        assert [*environment] == [first]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "grpc_proxy", "all_proxy", "ALL_PROXY"])
def test_this_machine_is_excepted_from_every_proxy(variable: str) -> None:
    environment = {variable: "http://proxy:3128"}
    reach_this_machine_directly(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("said", "lower", "upper"),
    [
        ({"no_proxy": "a.example, ::1"}, "a.example,::1,localhost,127.0.0.1", "a.example,::1,localhost,127.0.0.1"),
        ({"NO_PROXY": "a.example"}, "a.example,localhost,127.0.0.1,::1", "a.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1", "b,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*", "*"),
        ({"no_proxy": ""}, "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
    ],
)
def test_exceptions_that_were_made_stay(said: dict[str, str], lower: str, upper: str) -> None:
    environment = {"http_proxy": "http://proxy:3128"} | said
    reach_this_machine_directly(environment)
    assert (environment["no_proxy"], environment["NO_PROXY"]) == (lower, upper)


def test_without_a_proxy_nothing_is_excepted() -> None:
    environment = {"http_proxy": "", "NO_PROXY": "a.example"}
    reach_this_machine_directly(environment)
    assert environment == {"http_proxy": "", "NO_PROXY": "a.example"}
