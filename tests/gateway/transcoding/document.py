"""The examples of the contract document."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[3] / "docs" / "thumbnail-job-endpoints.md"
ADDRESS = "http://localhost:5009"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ERROR = re.compile(r"^#### ([^\n]+)\n\n\*\*Status Code\*\*: `(\d+) .*?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Endpoint:
    """One chapter of the document."""

    text: str

    @property
    def path(self) -> str:
        """The path of the endpoint, with its parameter in braces."""
        return self.blocks("")[0].split()[1]

    def blocks(self, language: str) -> list[str]:
        """Return the fenced examples in one language."""
        return [body for name, body in _BLOCK.findall(self.text) if name == language]

    def json(self, number: int) -> Any:
        """Return a JSON example: number 0 is the request, 1 the answer."""
        return json.loads(self.blocks("json")[number])

    def error(self, title: str) -> tuple[int, str, str]:
        """Return status, language and body of a documented error."""
        return next(
            (int(status), language, body.strip())
            for found, status, language, body in _ERROR.findall(self.text)
            if found == title
        )

    def curls(self) -> list[tuple[str, dict[str, str], bytes]]:
        """Return path, headers and body of each curl command."""
        commands = re.split(r"^(?=curl )", "\n".join(self.blocks("bash")), flags=re.MULTILINE)
        return [_curl(command) for command in commands if command.startswith("curl ")]


def _curl(command: str) -> tuple[str, dict[str, str], bytes]:
    words = iter(shlex.split(command.replace("\\\n", " "), comments=True)[1:])
    url, headers, body = "", {}, b""
    for word in words:
        match word:
            case "-X":
                assert next(words) == "POST"
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words).encode()
            case _:
                url = word
    return url.removeprefix(ADDRESS), headers, body


def chapter(title: str) -> Endpoint:
    """Return the chapter with this title."""
    text = DOCUMENT.read_text()
    return Endpoint(text.split(f"\n## {title}\n")[1].split("\n---\n")[0].split("\n## Notes\n")[0])


DEQUEUE = chapter("Dequeue Thumbnail Job")
COMPLETE = chapter("Complete Thumbnail Job")
FAIL = chapter("Fail Thumbnail Job")
TEST = chapter("Test Thumbnail Complete Notification")
