"""The words for the values of the protocol's enums: JOB_STATUS_PROCESSING is "Processing"."""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor


@cache
def words_of(enum: EnumDescriptor) -> dict[int, str]:
    """Return the word of each number of the enum."""
    prefix = _upper_snake(enum.name) + "_"
    return {
        value.number: "".join(part.capitalize() for part in value.name.removeprefix(prefix).split("_"))
        for value in enum.values
    }


def _upper_snake(name: str) -> str:
    return "".join("_" + letter if letter.isupper() else letter for letter in name).strip("_").upper()
