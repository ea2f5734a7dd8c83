"""The comments of the protocol, which are the texts of the description. `make proto` writes them into comments.json."""

import json
from importlib.resources import files
from typing import Protocol

COMMENTS: dict[str, str] = json.loads((files(__package__) / "comments.json").read_text(encoding="utf-8"))


class Described(Protocol):
    """A service, method, message, field, enum or value of the protocol."""

    @property
    def full_name(self) -> str:
        """Its name with the package."""


def comment_of(described: Described) -> str:
    """Return the comment of a thing in the protocol, or an empty text."""
    return COMMENTS.get(described.full_name.removeprefix("thumbq.v1."), "")


def first_sentence(text: str) -> str:
    """Return the first sentence of a comment, without its full stop."""
    line = text.partition("\n")[0]
    return line.partition(". ")[0].removesuffix(".")
