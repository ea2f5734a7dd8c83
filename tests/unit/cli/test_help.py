"""Every command says in its help how it is used, and the command line takes the example."""

import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from thumbq.cli import app

TOP = get_command(app)
assert isinstance(TOP, TyperGroup)


def commands(
    group: TyperCommand | TyperGroup, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """All commands, with the words that name them."""
    if isinstance(group, TyperCommand):
        yield path, group
        return
    for name, command in group.commands.items():
        assert isinstance(command, (TyperCommand, TyperGroup))
        yield from commands(command, (*path, name))


ALL = dict(commands(TOP))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_of_each_command_has_an_example_that_the_command_line_takes(path: tuple[str, ...]) -> None:
    command = ALL[path]
    example = (command.help or "").partition("Example: ")[2].strip()
    words = shlex.split(example)
    assert words[: len(path) + 1] == ["thumbq", *path]
    with command.make_context(" ".join(path), words[len(path) + 1 :]):
        pass
