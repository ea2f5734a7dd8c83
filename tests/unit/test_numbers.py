"""No setting takes a number that a timer, the memory or the database cannot work with."""

import types
from collections.abc import Iterator
from typing import Union, get_args, get_origin

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from thumbq_gateway.settings import Settings as GatewaySettings
from thumbq_runtime.settings import shared
from thumbq_runtime.settings.declaration import InvalidSetting, Setting
from thumbq_server.settings import Settings as ServerSettings

TOO_MUCH = ("inf", "nan", "-inf", "1e400", "-1", str(10**20))
NEEDED: dict[type[BaseSettings], dict[str, str]] = {
    ServerSettings: {"database_url": "postgresql:///thumbq"},
    GatewaySettings: {},
}


def numbers(program: type[BaseSettings]) -> Iterator[str]:
    """Yield the names of the fields that are numbers."""
    for name, field in program.model_fields.items():
        kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ()
        if {int, float} & {*kinds, field.annotation}:
            yield name


def takes(program: type[BaseSettings], name: str, text: str) -> bool:
    try:
        program.model_validate({**NEEDED[program], name: text})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("text", TOO_MUCH)
@pytest.mark.parametrize("program", NEEDED, ids=["server", "gateway"])
def test_a_program_refuses_what_is_no_sensible_number(program: type[BaseSettings], text: str) -> None:
    assert [name for name in numbers(program) if takes(program, name, text)] == []
    assert takes(program, "rate_of_reads", "1.5")


SHARED = {name: one for name, one in vars(shared).items() if isinstance(one, Setting)}
NUMBERS = {name: one for name, one in SHARED.items() if one.kind.parse.__name__ in {"float", "_whole_number"}}


@pytest.mark.parametrize("text", TOO_MUCH)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_several_programs_read_is_refused_by_all_of_them(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=NUMBERS[name].variable):
        NUMBERS[name].read({NUMBERS[name].variable: text})


@pytest.mark.parametrize("name", ["retry_base", "heartbeat_interval", "statement_timeout"])
def test_a_time_that_is_next_to_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        ServerSettings.model_validate({"database_url": "postgresql:///thumbq", name: "1e-320"})
