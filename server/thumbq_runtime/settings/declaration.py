"""How a setting is declared: its variables, its default, its kind of value and its sentence, once for all readers.

The children read their settings with pydantic-settings, which takes a third of a second to load. The parent of
`thumbq serve` reads the same declarations with the standard library alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

# A century: timers and the database take it, and who wants to keep something for ever sets it.
MOST_SECONDS = 3_153_600_000


class InvalidSetting(Exception):
    """Says in one sentence why the settings are not used."""


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """A kind of value: its name in an error, how it is parsed (ValueError if it cannot be), and its bounds."""

    name: str
    parse: Callable[[str], T_co]
    minimum: int | None = None
    maximum: int | None = None
    above: float | None = None

    def read(self, text: str) -> T_co:
        """Return the value that the text stands for. Raises ValueError."""
        value = self.parse(text)
        if isinstance(value, int | float):
            fits = (
                (self.minimum is None or value >= self.minimum)
                and (self.maximum is None or value <= self.maximum)
                and (self.above is None or value > self.above)
            )
            if not fits:
                raise ValueError(text)
        return value


@dataclass(frozen=True)
class Setting(Generic[T_co]):
    """A setting that more than one program reads."""

    # The environment variables that set it; the first that is not empty counts.
    variables: tuple[str, ...]
    kind: Kind[T_co]
    default: T_co
    # What it means, for the help of the command line and the table in the documentation.
    sentence: str
    # The default as a reader sees it, where that is not the value itself.
    shown_default: str = ""

    @property
    def variable(self) -> str:
        """The variable that a parent process sets."""
        return self.variables[0]

    def read(self, environment: Mapping[str, str]) -> T_co:
        """Return the value in the environment, or the default. Raises InvalidSetting."""
        for variable in self.variables:
            if text := environment.get(variable):
                try:
                    return self.kind.read(text)
                except ValueError as problem:
                    raise InvalidSetting(f"{variable} must be {self.kind.name}, not {text!r}.") from problem
        return self.default

    def field(self) -> T_co:
        """Return the field of a pydantic-settings class that reads this setting."""
        from pydantic import AliasChoices, Field

        return Field(
            default=self.default,
            validation_alias=AliasChoices(*self.variables),
            description=self.sentence,
            ge=self.kind.minimum,
            le=self.kind.maximum,
            gt=self.kind.above,
        )
