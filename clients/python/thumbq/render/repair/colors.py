"""Formats whose colours are those of web pages, while the renderer takes them for linear: they would look pale."""

import re
import zipfile
from pathlib import Path

_NUMBER = rb"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_DAE_COLOR = re.compile(rb"(<color\b[^>]*>\s*)(%b\s+%b\s+%b)" % (_NUMBER, _NUMBER, _NUMBER))
_3MF_COLOR = re.compile(rb"(\b(?:displaycolor|color)\s*=\s*[\"']#)([0-9A-Fa-f]{6})")


def linear(channel: float) -> float:
    """Return the linear value of a web page's, both from 0 to 1."""
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def rewrite_dae(path: Path) -> None:
    """Make the colours of a COLLADA file linear. Those of lamps change too, but lamps are not drawn."""

    def rewritten(found: re.Match[bytes]) -> bytes:
        return found[1] + b" ".join(b"%.6g" % linear(float(word)) for word in found[2].split())

    path.write_bytes(_DAE_COLOR.sub(rewritten, path.read_bytes()))


def rewrite_3mf(path: Path) -> None:
    """Make the colours of a 3MF package linear; the intake has checked what it unfolds to."""

    def rewritten(found: re.Match[bytes]) -> bytes:
        return found[1] + b"".join(
            b"%02X" % round(255 * linear(byte / 255)) for byte in bytes.fromhex(found[2].decode())
        )

    written = path.with_name("linear.3mf")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.lower().endswith(".model"):
                content = _3MF_COLOR.sub(rewritten, content)
            target.writestr(zipfile.ZipInfo(entry.filename), content)
    written.replace(path)
