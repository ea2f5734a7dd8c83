"""The JSON spelling of the protocol's enums."""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor


@cache
def words_of(enum: EnumDescriptor) -> dict[int, str]:
    """Return the documented word of each number: JOB_STATUS_PROCESSING is "Processing"."""
    prefix = _upper_snake(enum.name) + "_"
    return {
        value.number: "".join(part.capitalize() for part in value.name.removeprefix(prefix).split("_"))
        for value in enum.values
    }


@cache
def numbers_of(enum: EnumDescriptor) -> dict[str, int]:
    """Return the number of each word and of each full name, in lower case."""
    names = {value.name.lower(): value.number for value in enum.values}
    return names | {word.lower(): number for number, word in words_of(enum).items()}


def choices(enum: EnumDescriptor) -> dict[str, int]:
    """Return the words that a client may choose from, with their numbers: all but Unspecified."""
    return {word: number for number, word in words_of(enum).items() if number}


def _upper_snake(name: str) -> str:
    return "".join("_" + letter if letter.isupper() else letter for letter in name).strip("_").upper()
