"""The JSON spelling of the protocol's enums."""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor

from thumbq_runtime.enum_words import words_of


@cache
def numbers_of(enum: EnumDescriptor) -> dict[str, int]:
    """Return the number of each word and of each full name, in lower case."""
    names = {value.name.lower(): value.number for value in enum.values}
    return names | {word.lower(): number for number, word in words_of(enum).items()}


def choices(enum: EnumDescriptor) -> dict[str, int]:
    """Return the words that a client may choose from, with their numbers: all but Unspecified."""
    return {word: number for number, word in words_of(enum).items() if number}
