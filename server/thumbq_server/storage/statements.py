"""Statements as SQL text that knows its name and its parameters, so that all of them can be listed and read."""

import importlib
import pkgutil
import textwrap
from collections.abc import Iterable, Iterator
from types import ModuleType

_HEADING = """-- Every statement of the server, as `make sql` renders it from server/thumbq_server/storage.
-- psql accepts this file: each block prepares one statement, which EXECUTE then runs.
"""


class Statement:
    """The text of a statement. `parameters` are "name type" for $1, $2 and so on, separated by commas."""

    __slots__ = ("name", "parameters", "text")

    def __init__(self, name: str, parameters: str, text: str) -> None:
        self.name = name
        self.parameters = tuple(parameter.strip() for parameter in parameters.split(",") if parameter)
        self.text = textwrap.dedent(text).strip()

    def __str__(self) -> str:
        return self.text

    def prepare(self) -> str:
        """Return the statement as PREPARE, under its name, with its parameters in a comment."""
        pairs = [parameter.split(" ", 1) for parameter in self.parameters]
        names = ", ".join(f"${number} {name}" for number, (name, _) in enumerate(pairs, 1))
        types = f" ({', '.join(kind for _, kind in pairs)})" if pairs else ""
        comment = f"-- {self.name}: {names}" if names else f"-- {self.name}"
        return f"{comment}\nPREPARE {self.name}{types} AS\n{self.text};\n"


def all_statements() -> Iterable[Statement]:
    """Return every statement of the storage once, module by module, in the order of their text."""
    import thumbq_server.storage as package

    known: dict[str, Statement] = {}
    for module in _modules(package):
        for value in vars(module).values():
            for statement in value.values() if isinstance(value, dict) else (value,):
                if isinstance(statement, Statement) and known.setdefault(statement.name, statement) is not statement:
                    raise ValueError(f"two statements are named {statement.name}")
    return known.values()


def render() -> str:
    """Return all statements as a script for psql (docs/statements.sql)."""
    return f"{_HEADING}\n{chr(10).join(statement.prepare() for statement in all_statements())}"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations." not in found.name:
            yield importlib.import_module(found.name)
