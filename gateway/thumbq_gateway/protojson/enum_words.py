"""How the protocol's enums and names are spelt in JSON."""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor


@cache
def words_of(enum: EnumDescriptor) -> dict[int, str]:
    """The documented word of each number: JOB_STATUS_PROCESSING is "Processing"."""
    prefix = _upper_snake(enum.name) + "_"
    return {
        value.number: "".join(part.capitalize() for part in value.name.removeprefix(prefix).split("_"))
        for value in enum.values
    }


@cache
def numbers_of(enum: EnumDescriptor) -> dict[str, int]:
    """The number of each word and of each full name, in lower case."""
    names = {value.name.lower(): value.number for value in enum.values}
    return names | {word.lower(): number for number, word in words_of(enum).items()}


def offered(enum: EnumDescriptor) -> list[str]:
    """The words a client may choose from: all but Unspecified."""
    return [word for number, word in words_of(enum).items() if number]


def _upper_snake(name: str) -> str:
    return "".join("_" + letter if letter.isupper() else letter for letter in name).strip("_").upper()
