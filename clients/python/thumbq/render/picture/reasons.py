"""Why a reader could not read a file, in a sentence: what its log says, without what is not to blame.

The first complaint of a log is often not the reason: "Assimp failed to load" stands before the line that says why,
and a harmless warning before the error. The table below is searched for the first message that is a reason.
"""

import re

# A message of a reader, and the end of the sentence "The … file is damaged or incomplete"; None is never to blame.
MESSAGES: tuple[tuple[str, str | None], ...] = (
    (r"Assimp failed to load|returned failure for request|Error loading model data", None),
    (r"FBX-Parser \(TOK_\w+, (line \d+).*unexpected end of file", "it ends in {0}"),
    (r"FBX-Parser unexpected end of file", "it ends too early"),
    (r"FBX-Tokenize \(offset (0x[0-9a-f]+)\)", "it cannot be understood from byte {0} on"),
    (r"FBX-\w+ \(.*?(line \d+)", "{0} cannot be understood"),
    (r"OFF: The number of faces", "it has fewer faces than it says"),
    (r"contains no faces|mNumMeshes is 0|File came out empty", "it holds nothing to draw"),
    (r"Line (\d+): Separator character", "line {0} cannot be understood"),
    (r"Cannot parse string \"(.*)\" as a real number", "“{0}” stands where a number belongs"),
    (r"malformed XML|scene-graph is nullptr", "its XML cannot be understood"),
    (r"Failed to read BREP file", "its shapes cannot be read"),
    (r"Failed to read file or stream", "its entities cannot be read"),
    (r"PDAL error: readers\.\w+: (.+)", "{0}"),
    (r"Assimp error: (.+)", "{0}"),
)
# The readers of these say nothing when all is well with a file that holds nothing to draw.
_SILENT = ("step", "iges", "ifc")
_COMPLAINT = re.compile(r"^(?:\w+|\(nullptr\)) \((?:0x[0-9a-f]+|nullptr)\): +(.+)|^\(nullptr\): (.+)", re.MULTILINE)
_PATH = re.compile(r'"?/[^\s"]*/([^\s"/]+)"?')
LONGEST = 200


def reason(name: str, word: str, log: str) -> str:
    """Return the sentence for a file of the format `name` that its reader refused; `log` is what the reader wrote."""
    for found in _COMPLAINT.finditer(log):
        if why := _translated(found[1] or found[2]):
            return f"The {name} file is damaged or incomplete: {why}."
    if word in _SILENT:
        return f"The {name} file has no shapes that can be drawn."
    return f"The {name} file is damaged or incomplete, or its content is of another kind."


def _translated(message: str) -> str | None:
    """Return what a message means; one that is not in the table is shown, without the folders of this machine."""
    for pattern, meaning in MESSAGES:
        if found := re.search(pattern, message):
            return meaning and _shown(meaning.format(*(group or "" for group in found.groups())))
    return _shown(message)


def _shown(words: str) -> str:
    return _PATH.sub(r"\1", words).strip(" .")[:LONGEST]
