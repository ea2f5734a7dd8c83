"""The rule for the paths of thumbnails that workers report. It looks at the words alone, never at a disk."""

import posixpath
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from thumbq_server.domain.refusals import Invalid

MAX_THUMBNAIL_PATH = 500

# Older workers report it when they know of no picture. It is kept and never served, with and without roots.
NO_PICTURE = "/default/path"

# No thumbnail is in these folders, so a report of one is a mistake or worse, even where no roots are set.
_OF_THE_SYSTEM = ("/boot/", "/etc/", "/proc/", "/sys/")

# A path without these can have no ".." in any encoding, and is spelled as a root is.
_NOT_PLAIN = ("..", "%", "//", "/.", "/ ")

_OBJECT = "s3://"
# Object stores take no longer key.
_LONGEST_KEY_BYTES = 1024

# Control characters, and marks that change the order or the look of the letters around them.
_UNSEEN = {"Cc", "Cf"}


@dataclass(frozen=True, slots=True)
class PathRule:
    """Where thumbnails may be. No roots: anywhere but in folders of the system. Each root is plain (`plain_roots`)."""

    roots: tuple[str, ...] = ()
    # The address of the object store, such as s3://bucket/prefix; empty without one.
    store: str = ""

    def check(self, path: str) -> str:
        """Return `path` when it is absolute, in plain letters, without "..", and inside the roots. Raise Invalid.

        The name of an object is taken when it is below the address of the store.
        """
        if not path:
            raise Invalid("thumbnailPath is required")
        if len(path) > MAX_THUMBNAIL_PATH:
            raise Invalid(f"thumbnailPath is longer than {MAX_THUMBNAIL_PATH} characters")
        if "\0" in path:
            raise Invalid("thumbnailPath contains a NUL character")
        if not path.isprintable() and any(unicodedata.category(letter) in _UNSEEN for letter in path):
            raise Invalid("thumbnailPath has a character that is not printable")
        if _climbs(path):
            raise Invalid("thumbnailPath must not contain '..'")
        if path.startswith(_OBJECT):
            return self._check_object(path)
        if path[0] != "/":
            raise Invalid("thumbnailPath must be absolute")
        if not self._is_inside(path):
            raise Invalid("thumbnailPath is outside the thumbnail roots")
        return path

    def check_all(self, paths: Sequence[str]) -> None:
        """Raise Invalid when one of some paths is not valid.

        All paths are searched at once for what few contain; only then one by one.
        """
        together = f"{' '.join(paths)} "
        if not (together.isascii() and together.isprintable()) or any(part in together for part in _NOT_PLAIN):
            for path in paths:
                self.check(path)
            return
        inside = tuple(f"{root}/" for root in self.roots)
        for path in paths:
            is_inside = path.startswith(inside) if inside else not f"{path}/".startswith(_OF_THE_SYSTEM)
            if not is_inside or len(path) > MAX_THUMBNAIL_PATH or path[:1] != "/":
                self.check(path)

    def _check_object(self, path: str) -> str:
        key = path.removeprefix(f"{self.store}/")
        if not self.store or key == path or {"", "."} & set(key.split("/")):
            raise Invalid("thumbnailPath is not in the object store of this server (THUMBQ_THUMBNAIL_STORE)")
        if len(path.removeprefix(_OBJECT).partition("/")[2].encode()) > _LONGEST_KEY_BYTES:
            raise Invalid(f"thumbnailPath is longer than the {_LONGEST_KEY_BYTES} bytes that an object store takes")
        return path

    def _is_inside(self, path: str) -> bool:
        # Two slashes at the start stay two: POSIX gives them a meaning of their own.
        plain = posixpath.normpath(path)
        if self.roots:
            return path == NO_PICTURE or any(plain.startswith(f"{root}/") for root in self.roots)
        return not f"/{plain.lstrip('/')}/".startswith(_OF_THE_SYSTEM)


def plain_roots(roots: Iterable[str]) -> tuple[str, ...]:
    """Return the roots as PathRule compares them. Raise ValueError when one is not absolute."""
    roots = tuple(roots)
    for root in roots:
        if not root.startswith("/") or _climbs(root):
            raise ValueError(f"'{root}' is not an absolute path without '..'")
    return tuple(posixpath.normpath(root).rstrip("/") for root in roots)


def _climbs(path: str) -> bool:
    """Return whether a part of the path is "..", also in an encoding that another program may undo."""
    if ".." not in path and "%" not in path and path.isascii():
        return False
    readings = {path, unquote(path), unquote(unquote(path)), unicodedata.normalize("NFKC", path)}
    return any(".." in reading.replace("\\", "/").split("/") for reading in readings)
