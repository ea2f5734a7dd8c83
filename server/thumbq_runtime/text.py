"""Text of strangers, made safe for a terminal and for a log."""

import unicodedata

# Control characters, marks that turn the direction of writing and other invisible ones, halves of characters, and
# separators of lines and paragraphs. Two joiners are excepted: names and emoji need them.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def printable(text: str, keep: str = "") -> str:
    r"""Return the text with each control character as an escape such as \x1b, except those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in keep or _is_safe(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_safe(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _UNSAFE
