"""How a program refuses to start: with one sentence, and an exit code that tells its parent not to try again."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from thumbq_runtime.settings import shared
from thumbq_runtime.settings.declaration import InvalidSetting, Setting
from thumbq_runtime.text import printable

if TYPE_CHECKING:
    from pydantic import ValidationError

# Only another configuration helps.
EXIT_REFUSED = 2
# By Ctrl-C, as shells count signals.
EXIT_INTERRUPTED = 130
_BY_VARIABLE = {setting.variable: setting for setting in vars(shared).values() if isinstance(setting, Setting)}


def refuse(program: str, sentence: object) -> NoReturn:
    """Exit with a sentence about what the operator has to change."""
    sys.stderr.write(f"thumbq {program}: {printable(str(sentence))}\n")
    sys.exit(EXIT_REFUSED)


def sentence_about(error: "ValidationError") -> str:
    """Return one sentence about the first setting that was not valid."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        # A check of several settings at once: its input would show all of them, secrets included.
        return f"{first['msg'].removeprefix('Value error, ').rstrip('.')}."
    name = str(first["loc"][0])
    if setting := _BY_VARIABLE.get(name):
        try:
            setting.read(os.environ)
        except InvalidSetting as problem:
            return str(problem)
    variable = name if name.isupper() else f"THUMBQ_{name.upper()}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{variable} cannot be {first['input']!r}: {message[:1].lower()}{message[1:]}."
