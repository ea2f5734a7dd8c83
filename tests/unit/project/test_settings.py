"""The settings that several programs read mean the same to each of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings, SettingsConfigDict

from thumbq_runtime.settings import shared as settings
from thumbq_runtime.settings.declaration import InvalidSetting, Setting

ROOT = Path(__file__).parents[3]
SHARED = {name: value for name, value in vars(settings).items() if isinstance(value, Setting)}
TEXTS = ["0", "1", "7", "64", "65", "65535", "65536", "-1", "0.5", "true", "Off", "y", "maybe", "a/folder", ""]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", SHARED)
def test_a_child_and_its_parent_read_the_same_value(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = SHARED[name]
    for variable in setting.variables:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(setting.variable, text)
    assert read_by_a_child(setting) == read_by_the_parent(setting, text)


def test_the_page_of_settings_is_what_the_programs_declare() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts/settings_table.py"], check=True, capture_output=True)
    assert made.stdout.decode() == (ROOT / "docs/settings.md").read_text(), "run `make settings`"


def read_by_the_parent(setting: Setting[object], text: str) -> object:
    try:
        return setting.read({setting.variable: text})
    except InvalidSetting:
        return "refused"


def read_by_a_child(setting: Setting[object]) -> object:
    kind = type(setting.kind.parse("1"))

    class OfAChild(BaseSettings):
        model_config = SettingsConfigDict(env_ignore_empty=True)

        value: kind | None = setting.field()  # type: ignore[valid-type]

    try:
        return OfAChild().value
    except ValueError:
        return "refused"
